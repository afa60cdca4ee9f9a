"""Evaluates the saved pictures of a run anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rps.metrics.base import Metric, SavedCandidate, Unsaved
from rps.metrics.features import FeatureNetwork
from rps.metrics.images import as_saved
from rps.metrics.standard import standard
from rps.records.evaluate import Evaluation, feature_vectors, metrics_of
from rps.records.reader import Key, Records
from rps.records.rows import Row
from rps.restoration import Prediction

PICTURES = ("restored", "pseudo_inverse")
"""Kinds of images that a run saves."""


@torch.no_grad()
def reevaluate(
    prediction: Prediction,
    picture: Callable[[Key, str], Tensor],
    records: Records,
    metrics: Sequence[Metric],
    features: FeatureNetwork | None = None,
) -> Evaluation:
    """New rows and features of the samples of a batch that were restored, with their recorded costs.

    prediction: of the samples, without images. picture: (kind and level, id) -> the saved image, [C, H, W] in [0, 1].
    records: of these pictures. A metric that needs more than the picture, such as the image before it was rounded,
    keeps its recorded values. Errors: ValueError for such a metric that is not recorded.
    """
    result, known = Evaluation(), {*records.origin.metrics, *(metric.name for metric in standard())}
    place = {id_: i for i, id_ in enumerate(prediction.ids)}
    restored: set[str] = set()
    for key, of_key in records.rows.items():
        rows = [of_key[id_] for id_ in prediction.ids if id_ in of_key and of_key[id_].status == "ok"]
        if key[0] not in PICTURES or not rows:
            continue
        saved = torch.stack([picture(key, row.id) for row in rows])
        index = torch.tensor([place[row.id] for row in rows], device=saved.device)
        reference = None if prediction.reference is None else as_saved(prediction.reference[index])
        candidate = SavedCandidate(saved, saved, prediction.measurement.rows(index), reference)
        asked = metrics_of(metrics, key[0])
        values = {metric.name: _values(metric, candidate, rows, metric.name in known) for metric in asked}
        for i, row in enumerate(rows):
            own = {name: value for name, v in values.items() if v is not None and (value := v[i]) is not None}
            result.rows.append(replace(row, metrics=own))
        ids = [row.id for row in rows]
        restored.update(ids)
        result.vectors += feature_vectors(features, saved, key, ids)
    if prediction.reference is not None:
        ids = [id_ for id_ in prediction.ids if id_ in restored]
        clean = as_saved(prediction.reference)[[place[id_] for id_ in ids]]
        result.vectors += feature_vectors(features, clean, ("reference", None), ids)
    return result


def _values(
    metric: Metric, candidate: SavedCandidate, rows: Sequence[Row], known: bool
) -> Sequence[float | None] | None:
    """The value of each image; that of its row if the picture does not tell.  known: whether rows may have it."""
    try:
        return metric.values(candidate)
    except Unsaved as error:
        if not known:
            raise ValueError(
                f"the metric {metric.name} needs the {error} of the solver, but only pictures were saved, and the run "
                "has no values of it; give it to rps predict, with another --output"
            ) from error
        return [row.metrics.get(metric.name) for row in rows]
