"""Summarises the records of a run: the content of metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from rps.cost import Cost
from rps.metrics.calibration import VARIANCE_RATIO, SampleError, variance_ratio
from rps.metrics.dominance import dominated_by
from rps.metrics.dp import DISTANCES, Images, difference
from rps.metrics.features import load_reference
from rps.metrics.frechet import Statistics, expected_root
from rps.metrics.intervals import RESAMPLES, SEED, Estimate
from rps.metrics.standard import Spread
from rps.records.config_file import versions
from rps.records.evaluate import NOT_FINITE
from rps.records.reader import Key, Records
from rps.records.rows import REFERENCE, Kind

OWN_REFERENCE = "the clean images of this run"
MOST_FAILURES = 100
PACKAGES = ("map-rps", "torch", "torchvision", "lightning", "diffusers", "torchmetrics", "lpips", "timm", "numpy")

UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan)

EXACT: tuple[Kind, ...] = ("posterior_mean", "posterior_sample", "optimal")
"""Kinds of images that exist only if the posterior is known."""

COSTS = (*(cost.name for cost in fields(Cost)), "forward_equivalents")
"""Costs of a row that are of its level alone."""

DEFINITIONS = {
    "images": "[0, 1], clipped and rounded to 8 bits: the PNG files; means are over images that did not fail",
    "frechet": "|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features, unbiased covariances; biased upwards, the "
    "more so the smaller n",
    "network_calls_per_image": "images through the prior's network to reach this level when it is run alone",
    "network_backwards_per_image": "how often one of these calls was differentiated, likewise",
    "decoder_calls_per_image": "images through the decoder or encoder of a latent prior, the final decoding included",
    "decoder_backwards_per_image": "how often one of these calls was differentiated, likewise",
    "forward_equivalents_per_image": "the cost of the four in network forwards: network_calls + backward * "
    "network_backwards + decoder_call * decoder_calls + decoder_backward * decoder_backwards, with the weights under "
    "relative_cost",
    "total_network_calls_per_image": "images through the prior's network in the one pass over all levels, or in all "
    "passes if levels were added later; total_forward_equivalents_per_image: the cost likewise; "
    "stored_forward_equivalents_per_image: the part of it that was not computed but read from a store of stage 1 "
    "(--stage1)",
    "seconds_per_image": "wall-clock time of the batch over its images, divided among levels in proportion to cost",
    "infinite": "number of images for which the metric is infinite (PSNR of a perfect one), left out of its mean; "
    "missing: number of images without a value, likewise",
    "se": f"standard error, from {RESAMPLES} bootstrap resamples of the images (seed {SEED}), unbiased for means; ci95 "
    "likewise, wider by Student's t(n - 1) over 1.96",
    "se_sqrt": "standard error of the root of the Frechet distance, from `resamples` resamples with weights "
    "1 + sqrt(n / (n - 1)) (c - 1) / 10, c the bootstrap counts, scaled back; ci95_sqrt likewise",
    "difference_to_first": "this level minus the first one, paired on the images that both have; "
    "difference_to_previous: minus the one before it",
    "dominated_by": "a level with less RMSE and a smaller Frechet distance, each by more than the standard error of "
    "the paired difference",
    "expected_sqrt": "mean root of the Frechet distance of n samples of a Gaussian with the reference's moments: what "
    "clean images of the reference's kind would have",
    "not_finite": "number of images that failed because they have values that are not finite",
    "failures": f"reasons of the first {MOST_FAILURES} samples, by id, that failed at some level; all are in records/",
}


def summary(records: Records, reference: Statistics | None = None, info: Mapping[str, Any] | None = None) -> dict:
    """The content of metrics.json; figures that cannot be computed are NaN (null in the file).

    reference: for the Frechet distances; None compares with the run's own clean images, in pairs, if there are any.
    info: more entries of "definitions", e.g. which LPIPS network was used.
    """
    levels: list[Key] = [("restored", level) for level in records.levels]
    sets = {key: images_of(records, key, reference) for key in records.rows}
    result: dict[str, Any] = {"knob": records.knob, "levels": []}
    for key in levels:
        rows = list(records.rows[key].values())
        good = [row for row in rows if row.status == "ok"]
        entry = {
            "level": key[1],
            "n": len(good),
            "failed": len(rows) - len(good),
            "not_finite": sum((row.reason or "").endswith(NOT_FINITE) for row in rows),
            "metrics": _metrics(sets[key], records, reference),
            **{f"{name}_per_image": _mean([getattr(row.cost, name) for row in good]) for name in COSTS},
            "seconds_per_image": _mean([row.cost.seconds for row in good]),
        }
        if key != levels[0]:
            entry["difference_to_first"] = _difference(sets[key], sets[levels[0]])
            entry["difference_to_previous"] = _difference(sets[key], sets[levels[len(result["levels"]) - 1]])
        result["levels"].append(entry)
    for entry, by in zip(result["levels"], dominated_by([sets[key] for key in levels]), strict=True):
        entry["dominated_by"] = None if by is None else result["levels"][by]["level"]
    if baseline := sets.get(("pseudo_inverse", None)):
        result["pseudo_inverse"] = {"n": len(baseline.ids), "metrics": _metrics(baseline, records, reference)}
        if levels:
            result["pseudo_inverse"]["difference_to_first"] = _difference(baseline, sets[levels[0]])
    exact = {
        kind: [
            {"level": at, "n": len(sets[kind, at].ids), "metrics": _metrics(sets[kind, at], records, reference)}
            for _, at in sorted((key for key in sets if key[0] == kind), key=lambda key: key[1] or 0)
        ]
        for kind in EXACT
    }
    if any(exact.values()):
        result["exact"] = exact
    if clean := _reference(records, reference):
        result["reference"] = clean
    for name in ("total_network_calls", "total_forward_equivalents", "stored_forward_equivalents"):
        result[f"{name}_per_image"] = _mean(_of_samples(records, name))
    if records.origin.relative_cost is not None:
        result["relative_cost"] = asdict(records.origin.relative_cost)
    failures = records.failures()
    result["failed"] = len(failures)
    result["failures"] = dict(sorted(failures.items())[:MOST_FAILURES])
    result["duplicates"] = records.duplicates
    result["repeated_ids"] = sorted(records.repeated_ids)
    result["metrics"] = [asdict(metric) for metric in (*records.metrics, VARIANCE_RATIO, *DISTANCES)]
    own = {metric["name"]: metric["definition"] for metric in result["metrics"]}
    result["definitions"] = {**own, **DEFINITIONS, **(info or {})}
    result["networks"] = {name: {"sha256": digest} for name, digest in records.origin.hashes.items()}
    result["versions"] = versions(PACKAGES)
    return result


def images_of(records: Records, key: Key, reference: Statistics | None = None) -> Images:
    """The images of a kind and level that did not fail, sorted by id; features of images that have none are NaN.

    reference: for the Frechet and kernel distances; None is the run's own clean images.
    """
    rows = [row for row in records.rows[key].values() if row.status == "ok"]
    found = {name for row in rows for name in row.metrics}
    names = [info.name for info in records.metrics if info.name in found]
    names += sorted(found - set(names))
    columns = {name: [row.metrics.get(name, math.nan) for row in rows] for name in names}
    values = {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}
    ids = [row.id for row in rows]
    features = _stacked(records.features.get(key, {}), ids)
    against = reference or _stacked(records.features.get(("reference", None), {}), ids)
    return Images(ids, values) if features is None or against is None else Images(ids, values, features, against)


def _stacked(features: Mapping[str, Tensor], ids: Sequence[str]) -> Tensor | None:
    """[N, D], NaN in the rows of samples without features; None if no sample has any."""
    known = [features[id_] for id_ in ids if id_ in features]
    if not known:
        return None
    nothing = torch.full_like(known[0], math.nan)
    return torch.stack([features.get(id_, nothing) for id_ in ids])


def _metrics(images: Images, records: Records, reference: Statistics | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, values in images.values.items():
        infinite, missing = int(values.isinf().sum()), int(values.isnan().sum())
        result[name] = images.means.get(name, UNKNOWN).entry("mean")
        result[name] |= {word: k for word, k in (("infinite", infinite), ("missing", missing)) if k}
    if SampleError.name in images.values and Spread.name in images.values:
        ratio = variance_ratio(images.values[SampleError.name], images.values[Spread.name])
        result[VARIANCE_RATIO.name] = ratio.entry("mean")
    known = images.with_features
    if images.frechet is not None:
        root = images.frechet.root.estimate()
        result["frechet"] = {
            **images.frechet.estimate().entry(),
            "sqrt": root.value,
            "se_sqrt": root.se,
            "ci95_sqrt": [root.low, root.high],
            "n": len(known.ids),
            "resamples": len(images.frechet.draws),
            "features": records.network,
            "reference": {"images": reference.images, "n": reference.n}
            if reference
            else {"images": OWN_REFERENCE, "n": len(known.ids)},
        }
    if images.kernel is not None and images.manifold is not None:
        found = images.manifold
        sizes = {"n": found.n, "reference_n": found.m}
        result["kernel"] = {**images.kernel.estimate().entry(), **sizes}
        for name, share in (("precision", found.precision), ("recall", found.recall)):
            result[name] = {**share.entry("mean"), **sizes, "neighbours": found.neighbours}
    return result


def _difference(images: Images, first: Images) -> dict[str, Any]:
    paired = difference(images, first)
    means = {name: change.entry("mean") for name, change in paired.means.items()}
    distances = {name: change.entry() for name, change in paired.distances.items()}
    return {"n": paired.n, **means, **distances}


def _reference(records: Records, reference: Statistics | None) -> dict[str, Any] | None:
    """The distances of the run's clean images from the reference, the floor for restorations."""
    clean = records.features.get(("reference", None), {})
    if not clean:
        return None
    if reference is None:
        return {"images": OWN_REFERENCE, "n": len(clean), "metrics": {}}
    images = Images(list(clean), {}, torch.stack(list(clean.values())), reference)
    metrics = _metrics(images, records, reference)
    if "frechet" in metrics and len(clean) > 1:
        metrics["frechet"]["expected_sqrt"] = expected_root(reference, metrics["frechet"]["n"])
    return {"images": OWN_REFERENCE, "n": len(clean), "metrics": metrics}


def reference_of(records: Records) -> Statistics | None:
    """The reference set that the records name; None if it is the run's own clean images."""
    origin = records.origin
    return None if origin.reference is None else load_reference(origin.reference, origin.hashes.get(REFERENCE))


def _of_samples(records: Records, name: str) -> list[float | None]:
    """A total cost of every sample: that of the last pass, which includes the others."""
    totals: dict[str, float] = {}
    for row in records.at_levels:
        if (total := getattr(row.cost, name)) is not None:
            totals[row.id] = max(total, totals.get(row.id, 0))
    return list(totals.values())


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan
