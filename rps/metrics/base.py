"""The base class of metrics: one number per image, and the metadata for tables and comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rps.chunks import chunks
from rps.measurement import Measurement

Better = Literal["lower", "higher"]

ORACLE = "oracle_"
"""Prefix of the measures against an exact posterior, see rps.oracle.OracleRecorder."""
RESERVED = {
    "id", "kind", "status", "reason", "level", "vector", "network_calls", "total_network_calls", "seconds",
    "network_backwards", "decoder_calls", "decoder_backwards", "forward_equivalents", "total_forward_equivalents",
    "stored_forward_equivalents",
    "frechet", "sqrt_frechet", "kernel", "precision", "recall", "variance_ratio", "features", "model", "n",
    "images", "se", "se_sqrt", "infinite", "missing", "failures", "difference_to_first",
    "difference_to_previous", "expected_sqrt", "not_finite",
}  # fmt: skip
"""Names that records and metrics.json use for other purposes."""


@dataclass(frozen=True)
class MetricInfo:
    """The metadata of a metric in records, metrics.json, tables and comparisons.

    name: its column in the records. title: its heading in tables. definition: one sentence. digits: decimals in tables.
    better: which of two values is better; None if neither. unless: the name of a metric that makes this one redundant:
    tables that have it leave this one out. low, high: (limit, advice); the advice is printed for levels whose mean is
    below, or above, the limit by more than its error.
    """

    name: str
    title: str
    definition: str = ""
    digits: int = 3
    better: Better | None = None
    unless: str | None = None
    low: tuple[float, str] | None = None
    high: tuple[float, str] | None = None


@dataclass(frozen=True)
class Candidate:
    """Images to evaluate, and the data that metrics may use.

    images: [N, C, H, W] in about [-1, 1], as the solver returned them. saved, reference: these images and the clean
    ones in [0, 1], rounded to the 8 bits of a PNG (`as_saved`); reference is None if there are no clean images.
    spread: pixel-wise standard deviation of the chains that were averaged, in [-1, 1] units, or None. samples: these
    chains [M, N, C, H, W], or None.
    """

    images: Tensor
    saved: Tensor
    measurement: Measurement
    reference: Tensor | None = None
    spread: Tensor | None = None
    samples: Tensor | None = None


class Unsaved(Exception):
    """A metric asks for more of an image than the picture that is saved."""


class SavedCandidate(Candidate):
    """Images of which only the pictures are left: to ask for `images`, `spread` or `samples` raises Unsaved."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("images", "spread", "samples"):
            raise Unsaved(name)
        return super().__getattribute__(name)


class Metric(nn.Module):
    """One number per image. Subclasses set `name` and other attributes, and define `forward`.

        class Sharpness(Metric):
            name, digits, better, needs_reference = "sharpness", 4, "higher", False
            definition = "mean absolute difference of neighbouring pixels in a row"

            def forward(self, restored, reference=None):
                return restored.diff(dim=-1).abs().flatten(1).mean(1)

    The mean over images, its standard error and its interval are computed for every metric. NaN means that the value
    of an image is missing; infinite and missing values are counted and left out of the mean.

    name: lower-case letters, digits and underscores. title: heading in tables; the name by default. definition, digits,
    better, unless, low, high: see MetricInfo. needs_reference: whether the metric needs clean images. of_measurement:
    whether it describes y and no restoration, so that it is recorded once, with A^+ y.
    """

    name: str
    title: str = ""
    definition: str = ""
    digits: int = 3
    better: Better | None = None
    unless: str | None = None
    low: tuple[float, str] | None = None
    high: tuple[float, str] | None = None
    needs_reference: bool = True
    of_measurement: bool = False

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        """restored, reference: [N, C, H, W] in [0, 1], as saved -> [N]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(restored, reference)")

    def judge(self, candidate: Candidate) -> Tensor | None:
        """The value of each image, [N]; None if the metric does not apply to such images.

        Override it for a metric that uses the measurement or the images before rounding.
        """
        if self.needs_reference and candidate.reference is None:
            return None
        return self(candidate.saved, candidate.reference)

    @property
    def info(self) -> MetricInfo:
        title = self.title or self.name
        return MetricInfo(self.name, title, self.definition, self.digits, self.better, self.unless, self.low, self.high)

    @torch.no_grad()
    def values(self, candidate: Candidate) -> list[float] | None:
        """The result of `judge` as numbers.  Errors: ValueError if its shape is not [N]."""
        found = self.judge(candidate)
        if found is None:
            return None
        n = len(candidate.saved)
        if not isinstance(found, Tensor) or found.shape != (n,):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"the metric {self.name} must return one value per image, [{n}], got {shape}")
        return found.cpu().double().tolist()


def check_metrics(metrics: list[Metric]) -> None:
    """Errors: ValueError for a name that is missing, invalid or shared by two metrics."""
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise ValueError(
                f"a metric must be an rps.metrics.Metric, got {type(metric).__name__}; wrap one of torchmetrics in "
                "rps.metrics.TorchMetrics"
            )
        name: str = getattr(metric, "name", "")
        allowed = isinstance(name, str) and re.fullmatch("[a-z][a-z0-9_]*", name)
        if not allowed or name in RESERVED or name.startswith(ORACLE):
            raise ValueError(
                f"{type(metric).__name__} needs a name of lower-case letters, digits and underscores that is not "
                f"reserved, got {name!r}"
            )
        if metric.better not in ("lower", "higher", None):
            raise ValueError(f"better must be 'lower', 'higher' or None, got {metric.better!r} of {name}")
    names = [metric.name for metric in metrics]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two metrics are named {min(twice)}; give one of them another name")


def in_batches(network: Callable[..., Tensor], size: int, *images: Tensor) -> Tensor:
    """The results of a network for images, or pairs of them, of which it takes `size` in one pass.  -> [N]."""
    parts = [network(*(each[rows] for each in images)).reshape(-1) for rows in chunks(len(images[0]), size)]
    return torch.cat(parts) if parts else images[0].new_zeros(0)


def in_colour(images: Tensor, metric: Metric) -> Tensor:
    """The images in three channels, with grey images repeated.  [N, 1 or 3, H, W] -> [N, 3, H, W]."""
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"{metric.title or metric.name} is defined for grey and RGB images, got {images.shape[1]} channels; leave "
            "it out of the metrics"
        )
    return images.float().expand(-1, 3, -1, -1)
