"""Evaluates the restorations of a batch and makes their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.cost import RelativeCost
from rps.metrics.base import Candidate, Metric
from rps.metrics.features import FeatureNetwork
from rps.metrics.images import as_saved
from rps.metrics.standard import standard
from rps.records.files import level_name
from rps.records.reader import Key
from rps.records.rows import Kind, Row, RowCost, Vectors
from rps.restoration import Level, Prediction, Restoration

NOT_FINITE = "has values that are not finite"
"""The end of the reason of a row that failed because the method diverged."""


@dataclass
class Evaluation:
    """The records of a batch."""

    rows: list[Row] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)


@torch.no_grad()
def evaluate(
    prediction: Prediction,
    metrics: Sequence[Metric] | None = None,
    features: FeatureNetwork | None = None,
    also: Mapping[tuple[Kind, Level | None], Tensor] | None = None,
    relative_cost: RelativeCost | None = None,
) -> Evaluation:
    """One row per sample and level, one per sample for A^+ y, and the features of these and of the clean images.

    metrics: recorded where they apply; None is `standard`. also: more sets of images, by kind and level.
    relative_cost: of the prior, for costs in network forwards; None leaves these out. A sample whose image at a level
    has values that are not finite, or that has no image at all, gets a failed row.
    """
    metrics, result = standard() if metrics is None else metrics, Evaluation()
    restoration, measurement = prediction.restoration, prediction.measurement
    clean = None if prediction.reference is None else as_saved(prediction.reference)

    def add(x: Tensor, kind: Kind, level: Level | None = None, cost: RowCost | None = None) -> None:
        finite = x.isfinite().flatten(1).all(1)
        good, saved = finite.nonzero()[:, 0], as_saved(x[finite])
        spread, samples = None, None
        if kind == "restored" and level is not None:
            spread, chains = restoration.spread.get(level), restoration.samples.get(level)
            spread = None if spread is None else spread[good]
            samples = None if chains is None else torch.stack([chain[good] for chain in chains])
        reference = None if clean is None else clean[good]
        candidate = Candidate(x[good], saved, measurement.rows(good), reference, spread, samples)
        asked = metrics_of(metrics, kind) if len(good) else []
        found = {metric.name: metric.values(candidate) for metric in asked}
        measured = measurement.y.isfinite().flatten(1).all(1).tolist()
        place = {i: k for k, i in enumerate(good.tolist())}
        where = f"the {kind} image" if level is None else f"the image at level {level_name(level)}"
        for i, id_ in enumerate(prediction.ids):
            row = Row(id_, level, kind, cost=cost or RowCost())
            if i in place:
                known = {name: values[place[i]] for name, values in found.items() if values is not None}
                result.rows.append(replace(row, metrics=known))
            else:
                reason = (
                    f"{where} {NOT_FINITE}" if measured[i] else "the operator gave a measurement that is not finite"
                )
                result.rows.append(replace(row, status="failed", reason=reason))
        result.vectors += feature_vectors(features, saved, (kind, level), [prediction.ids[i] for i in place])

    for level in restoration.levels:
        if prediction.ids:
            add(restoration.images[level], "restored", level, row_cost(restoration, level, relative_cost))
        result.rows += [Row(id_, level, status="failed", reason=why) for id_, why in prediction.failures.items()]
    if prediction.ids:
        if (baseline := measurement.pseudo_inverse()) is not None:
            add(baseline, "pseudo_inverse")
        for (kind, at), images in (also or {}).items():
            add(images, kind, at)
    if clean is not None:
        result.vectors += feature_vectors(features, clean, ("reference", None), prediction.ids)
    return result


def row_cost(restoration: Restoration, level: Level, relative: RelativeCost | None) -> RowCost:
    """The cost of a level and the total, per image.  relative: None if the costs in network forwards are unknown."""
    cost, total = restoration.cost[level], restoration.total_cost
    costs = {"": cost, "total_": total, "stored_": restoration.stored_cost}
    known = {f"{of}forward_equivalents": c.forward_equivalents(relative) for of, c in costs.items() if relative}
    seconds = restoration.seconds[level]
    return RowCost(**asdict(cost), **known, total_network_calls=total.network_calls, seconds=seconds)


def feature_vectors(features: FeatureNetwork | None, saved: Tensor, key: Key, ids: list[str]) -> list[Vectors]:
    """The features of the images of one kind and level, as saved; empty without a network or images."""
    if features is None or not ids:
        return []
    vectors = torch.cat([features(saved[rows]) for rows in chunks(len(saved), 64)])
    return [Vectors(ids, key[1], key[0], vectors.float().cpu())]


def metrics_of(metrics: Sequence[Metric], kind: Kind) -> list[Metric]:
    """The metrics that images of a kind have: those of the measurement are recorded with A^+ y."""
    return [metric for metric in metrics if kind == "pseudo_inverse" or not metric.of_measurement]
