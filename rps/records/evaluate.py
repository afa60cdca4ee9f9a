"""From the restorations of a batch to its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.metrics.features import FeatureNetwork
from rps.metrics.images import as_saved, consistency, ms_ssim, psnr, residual_rms, rmse, ssim
from rps.metrics.lpips import Lpips
from rps.metrics.quality import Quality
from rps.records.files import level_name
from rps.records.rows import Cost, Kind, Row, Vectors
from rps.restoration import Level, Prediction


@dataclass
class Evaluation:
    """The records of a batch."""

    rows: list[Row] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)


@torch.no_grad()
def evaluate(
    prediction: Prediction,
    perceptual: Lpips | None = None,
    features: FeatureNetwork | None = None,
    also: Mapping[tuple[Kind, Level | None], Tensor] | None = None,
    quality: Quality | None = None,
) -> Evaluation:
    """One row per sample and level, one per sample of A^+ y, and the features of all of these and of the clean images.

    Distortion (rmse, psnr, ssim, ms_ssim, lpips) where there is a reference; consistency and residual_rms always, the
    former unless noise_std is 0; quality where there is a network for it; spread where the image is the mean of several
    chains. A sample whose image at a level is not finite, or which has no image at all, is a failed row.
    """
    judge = _Judge(prediction, perceptual, features, quality)
    restoration = prediction.restoration
    totals = restoration.total_network_calls.tolist()
    for level in restoration.levels:
        costs = [
            Cost(calls, total, restoration.seconds[level])
            for calls, total in zip(restoration.network_calls[level].tolist(), totals, strict=True)
        ]
        judge.add(restoration.images[level], "restored", level, costs, restoration.spread.get(level))
        for id_, reason in prediction.failures.items():
            judge.result.rows.append(Row(id_, level, status="failed", reason=reason))
    baseline = prediction.measurement.pseudo_inverse() if prediction.ids else None
    if baseline is not None:
        judge.add(baseline, "pseudo_inverse", None, [Cost()] * len(prediction.ids))
    for (kind, at), images in (also or {}).items():
        judge.add(images, kind, at, [Cost()] * len(prediction.ids))
    if prediction.reference is not None and features is not None:
        judge.add_features(as_saved(prediction.reference), "reference", None, prediction.ids)
    return judge.result


class _Judge:
    """Evaluates sets of images of one prediction."""

    def __init__(
        self,
        prediction: Prediction,
        perceptual: Lpips | None,
        features: FeatureNetwork | None,
        quality: Quality | None,
    ) -> None:
        self.ids, self.measurement = prediction.ids, prediction.measurement
        self.reference = None if prediction.reference is None else as_saved(prediction.reference)
        self.perceptual, self.features, self.quality = perceptual, features, quality
        self.result = Evaluation()

    def add(
        self, x: Tensor, kind: Kind, level: Level | None, costs: Sequence[Cost], spread: Tensor | None = None
    ) -> None:
        if not self.ids:
            return
        saved = as_saved(x)
        metrics = dict(self._metrics(x, saved))
        if spread is not None:
            metrics["spread"] = (spread.square().flatten(1).mean(1).sqrt() / 2).tolist()
        finite = x.isfinite().flatten(1).all(1).tolist()
        where = f"the {kind} image" if level is None else f"the image at level {level_name(level)}"
        for i, (id_, cost) in enumerate(zip(self.ids, costs, strict=True)):
            if finite[i]:
                known = {name: value[i] for name, value in metrics.items() if not math.isnan(value[i])}
                self.result.rows.append(Row(id_, level, kind, metrics=known, cost=cost))
            else:
                reason = f"{where} has values that are not finite"
                self.result.rows.append(Row(id_, level, kind, "failed", reason, cost=cost))
        good = [i for i, ok in enumerate(finite) if ok]
        if good:
            self.add_features(saved[good], kind, level, [self.ids[i] for i in good])

    def add_features(self, saved: Tensor, kind: Kind, level: Level | None, ids: list[str]) -> None:
        if self.features is not None and ids:
            vectors = torch.cat([self.features(saved[rows]) for rows in chunks(len(saved), 64)])
            self.result.vectors.append(Vectors(ids, level, kind, vectors.float().cpu()))

    def _metrics(self, x: Tensor, saved: Tensor) -> Mapping[str, list[float]]:
        values = {"residual_rms": residual_rms(self.measurement, x)}
        ratio = consistency(self.measurement, x)
        if ratio is not None:
            values["consistency"] = ratio
        if self.quality is not None:
            values["quality"] = self.quality(saved)
        if self.reference is not None:
            values |= {metric.__name__: metric(saved, self.reference) for metric in (rmse, psnr, ssim, ms_ssim)}
            if self.perceptual is not None:
                values["lpips"] = self.perceptual(saved, self.reference)
        return {name: value.tolist() for name, value in values.items()}
