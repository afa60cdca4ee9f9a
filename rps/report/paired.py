"""Compares two runs level by level on the samples that both have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rps.metrics.base import MetricInfo
from rps.metrics.dp import DISTANCES, PERCEPTION, Difference, Images, difference
from rps.metrics.frechet import Statistics
from rps.metrics.intervals import Estimate
from rps.metrics.standard import DISTORTION, standard
from rps.records.files import level_name
from rps.records.reader import Key, Records, read_records
from rps.records.rows import Row
from rps.records.summary import OWN_REFERENCE, images_of, reference_of
from rps.restoration import Level

Paired = dict[str, Any]
"""A figure of two runs: "run", "other", "difference" with its "se" and "ci95", and the number "n" of samples."""

Exact = Callable[[Sequence[Row], Sequence[Row]], Sequence[tuple[MetricInfo, Paired]]]
"""Figures against an exact posterior from the rows of both runs, such as rps.oracle.paired.paired_figures."""

ALIKE = 0.02
"""Relative tolerance: devices and precisions change features and errors by less, another picture by more."""


def compare_runs(
    run: str | Path,
    other: str | Path,
    pairs: Sequence[tuple[Level, Level]] | None = None,
    exact: Exact | None = None,
) -> dict[str, Any]:
    """`run` minus `other`, level by level, paired on the ids that both restored.

    -> a dict: "run", "other" and their "knob", "other_knob"; "samples" in common, "left_out"; "same_measurements";
    "reference" and "features" of the distances; "infos" of the metrics; "relative_costs" of both, and whether a
    "decoder" has a cost; and "levels", each with "level", "other_level", "n", "cost" ("name", "run", "other"; name is
    "network_calls" if a run of an earlier version has only these) and "metrics": name -> "run", "other", "difference",
    "se", "ci95", "n".
    "different_metrics" and "one_sided_metrics", which only one run has, are left out.

    pairs: (level of `run`, level of `other`). None takes the values that both have if the knob is the same, and
    otherwise every level of one with every level of the other.
    The reference of the Frechet and kernel distances is the one that both runs were recorded with, else the runs' own
    clean images. Distances are left out if the features come from different networks, and so are metrics whose network
    or definition differs.
    exact: adds the figures of runs that were both compared with exact posteriors; called for these only.
    same_measurements: whether A^+ y has the same error in both runs for every common sample; None if unknown.
    Errors: ValueError for a missing level, for runs without a common sample, and for different clean images with the
    same id.
    """
    a, b = read_records(run), read_records(other)
    reference = reference_of(a) if a.origin.reference == b.origin.reference else None
    _check_levels(a, run, [here for here, _ in pairs or ()])
    _check_levels(b, other, [there for _, there in pairs or ()])
    pairs = _all_pairs(a, b) if pairs is None else pairs
    check_same_data(a, b, run, other)
    common = sorted(a.ids & b.ids)
    same_features, other_metrics = _comparable(a, b)
    used = [sorted({pair[i] for pair in pairs}) for i in (0, 1)]
    sets = [
        {level: _images(records, level, reference, same_features, other_metrics) for level in levels}
        for records, levels in zip((a, b), used, strict=True)
    ]
    levels = [_level(a, b, difference(sets[0][here], sets[1][there]), here, there) for here, there in pairs]
    one_sided, infos = {m.name for m in a.metrics} ^ {m.name for m in b.metrics}, []
    if exact is not None and a.judged and b.judged:
        infos = _add_exact(levels, a, b, exact)
        other_metrics |= set() if infos else {"oracle"}
    elif a.judged != b.judged:
        one_sided.add("oracle")
    if not any(level["n"] for level in levels):
        raise ValueError(f"{run} and {other} have no sample that both restored; the reasons are in their tables")
    return {
        "run": str(run),
        "other": str(other),
        "knob": a.knob,
        "other_knob": b.knob,
        "samples": len(common),
        "left_out": {
            "only_in_run": sorted(a.ids - b.ids),
            "only_in_other": sorted(b.ids - a.ids),
            "failed_in_run": _failed(a, common, used[0]),
            "failed_in_other": _failed(b, common, used[1]),
        },
        "same_measurements": _same_measurements(a, b),
        "reference": {"images": reference.images, "n": reference.n} if reference else {"images": OWN_REFERENCE},
        "features": a.network,
        "different_metrics": sorted(other_metrics),
        "one_sided_metrics": sorted(one_sided),
        "infos": [asdict(metric) for metric in (*a.metrics, *DISTANCES, *infos) if metric.name not in other_metrics],
        "relative_costs": [
            relative and asdict(relative) for relative in (a.origin.relative_cost, b.origin.relative_cost)
        ],
        "decoder": any(row.cost.decoder_calls for records in (a, b) for row in records.at_levels),
        "levels": levels,
    }


def check_same_data(a: Records, b: Records, run: str | Path, other: str | Path) -> None:
    """Errors: ValueError for runs without a common sample, and for different clean images with the same id."""
    if not a.ids & b.ids:
        raise ValueError(
            f"{run} and {other} have no sample in common: the ids of one begin with {min(a.ids)!r}, those of the "
            f"other with {min(b.ids)!r}; give runs of the same data"
        )
    if same_images(a, b) is False:
        raise ValueError(f"{run} and {other} have different clean images with the same ids; give runs of the same data")


def same_images(a: Records, b: Records) -> bool | None:
    """Whether the clean images of the common samples are the same, by their features; None if there are none."""
    key: Key = ("reference", None)
    here, there = a.features.get(key, {}), b.features.get(key, {})
    ids = sorted(here.keys() & there.keys())
    if not ids or not _comparable(a, b)[0]:
        return None
    x, y = (torch.stack([features[id_] for id_ in ids]).double() for features in (here, there))
    return bool(((x - y).norm(dim=1) <= ALIKE * torch.maximum(x.norm(dim=1), y.norm(dim=1))).all())


def _images(records: Records, level: Level, reference: Statistics | None, features: bool, other: set[str]) -> Images:
    """The restored images of a level, without the metrics named in `other`; features: whether with them."""
    images = images_of(records, ("restored", level), reference)
    values = {name: value for name, value in images.values.items() if name not in other}
    return Images(images.ids, values, images.features if features else None, images.reference if features else None)


def _level(a: Records, b: Records, paired: Difference, level: Level, other_level: Level) -> dict[str, Any]:
    here, there = paired.pair
    metrics = {}
    for name, change in paired.means.items():
        known = here.values[name].isfinite() & there.values[name].isfinite()
        own, other = (float(images.values[name][known].mean()) for images in paired.pair)
        metrics[name] = {**paired_figure(own, other, change), "n": int(known.sum())}
    for name, change in paired.distances.items():
        draws = [images.draws(name) for images in paired.with_features]
        own, other = (math.nan if of is None else of.value for of in draws)
        metrics[name] = paired_figure(own, other, change)
    if PERCEPTION in metrics:
        metrics[PERCEPTION]["n"] = len(paired.with_features[0].ids)
    for name in ("forward_equivalents", "network_calls"):
        cost = {"name": name, "run": _cost(a, name, level, here.ids), "other": _cost(b, name, other_level, there.ids)}
        if None not in cost.values():
            break
    return {"level": level, "other_level": other_level, "n": paired.n, "metrics": metrics, "cost": cost}


def _cost(records: Records, name: str, level: Level, ids: Sequence[str]) -> float | None:
    """The mean of a field of RowCost over some samples of a level."""
    rows = [records.rows["restored", level][id_] for id_ in ids]
    costs = [cost for row in rows if (cost := getattr(row.cost, name)) is not None]
    return math.fsum(costs) / len(costs) if costs else None


def _add_exact(levels: Sequence[dict[str, Any]], a: Records, b: Records, exact: Exact) -> list[MetricInfo]:
    """Adds the figures against the exact posterior to the entries of levels.  -> their infos."""
    infos: dict[str, MetricInfo] = {}
    for level in levels:
        here, there = a.rows["restored", level["level"]], b.rows["restored", level["other_level"]]
        ids = [id_ for id_ in here if id_ in there and here[id_].status == there[id_].status == "ok"]
        for info, found in exact([here[id_] for id_ in ids], [there[id_] for id_ in ids]):
            infos[info.name] = info
            level["metrics"][info.name] = found
    return list(infos.values())


def paired_figure(run: float, other: float, change: Estimate) -> Paired:
    return {"run": run, "other": other, **change.entry("difference")}


def _comparable(a: Records, b: Records) -> tuple[bool, set[str]]:
    """(whether the features are of the same network in both, the metrics whose networks or definitions differ).

    Standard metrics are the same whatever words define them.
    """
    here, there = ({metric.name: metric.definition for metric in records.metrics} for records in (a, b))
    hashes, fixed = (a.origin.hashes, b.origin.hashes), {metric.name for metric in standard()}
    other = {
        name
        for name in here.keys() & there.keys() - fixed
        if here[name] != there[name] or hashes[0].get(name) != hashes[1].get(name)
    }
    return a.network == b.network and hashes[0].get("features") == hashes[1].get("features"), other


def _same_measurements(a: Records, b: Records) -> bool | None:
    """Whether the measurements are the same, by the errors of A^+ y, which depend only on image and measurement."""
    baselines = [records.rows.get(("pseudo_inverse", None), {}) for records in (a, b)]
    found = [
        (here.metrics[DISTORTION], baselines[1][id_].metrics[DISTORTION])
        for id_, here in baselines[0].items()
        if id_ in baselines[1] and DISTORTION in here.metrics and DISTORTION in baselines[1][id_].metrics
    ]
    return all(abs(x - y) <= 1e-3 * max(x, y) for x, y in found) if found else None


def _all_pairs(a: Records, b: Records) -> list[tuple[Level, Level]]:
    common = [level for level in a.levels if level in b.levels] if a.knob == b.knob else []
    return [(level, level) for level in common] or [(here, there) for here in a.levels for there in b.levels]


def _check_levels(records: Records, run: str | Path, wanted: Sequence[Level]) -> None:
    if not records.levels:
        raise ValueError(f"{run} has no records of restored images")
    if missing := [level for level in wanted if level not in records.levels]:
        raise ValueError(
            f"{run} has no level {records.knob} = {level_name(missing[0])}; it has "
            f"{', '.join(map(level_name, records.levels))}"
        )


def _failed(records: Records, ids: Sequence[str], levels: Sequence[Level]) -> dict[str, str]:
    """id -> reason for the common samples that are missing or failed at any of the levels."""
    found = {}
    for level in levels:
        for id_ in ids:
            row = records.rows["restored", level].get(id_)
            if row is None or row.status == "failed":
                found[id_] = (row and row.reason) or f"no record at every level of {records.knob}"
    return dict(sorted(found.items()))
