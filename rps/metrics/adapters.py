"""Metrics of other packages: torchmetrics and pyiqa."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor

from rps.metrics.base import Better, Metric, in_batches, in_colour


class TorchMetrics(Metric):
    """A metric of torchmetrics, or anything with the same call signature, computed image by image.

    Args:
        target: the import path of a functional, e.g. torchmetrics.functional.image.universal_image_quality_index; or
            of a torchmetrics.Metric, e.g. torchmetrics.image.SpectralAngleMapper.
        better: "lower" or "higher"; None uses the Metric's own attribute.
        name: name of its column; None derives it from the last part of the path.
        digits: decimals in tables.
        needs_reference: whether it is called with (restored, reference) or with (restored) alone.
        arguments: more arguments for the functional or the constructor of the Metric, e.g. {data_range: 1.0}.
    """

    functional: Callable[..., Any] | None = None

    def __init__(
        self,
        target: str,
        better: Better | None = None,
        name: str | None = None,
        digits: int = 3,
        needs_reference: bool = True,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        try:
            found = resolve_name(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"there is no metric {target!r} to import: {error}") from error
        options = dict(arguments or {})
        if inspect.isclass(found):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it keeps all images in memory: it is reset after each
                self.metric = found(**options)
            higher: bool | None = getattr(found, "higher_is_better", None)
            better = better or (None if higher is None else "higher" if higher else "lower")
        else:
            self.functional, self.options = found, options
        self.name = name or _column(target.rpartition(".")[2])
        self.better, self.digits, self.needs_reference = better, digits, needs_reference
        settings = ", ".join(f"{key}={value!r}" for key, value in options.items())
        self.definition = f"{target}({settings}) of each image, mean over images"

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        pairs = (restored, reference) if self.needs_reference else (restored,)
        values = [self._one(*(images[i : i + 1].float() for images in pairs)) for i in range(len(restored))]
        return torch.stack(values) if values else restored.new_zeros(0)

    def _one(self, *images: Tensor) -> Tensor:
        if self.functional is not None:
            value = torch.as_tensor(self.functional(*images, **self.options))
        else:
            metric: Any = self.metric
            value = torch.as_tensor(metric(*images))
            metric.reset()
        if value.numel() != 1:
            raise ValueError(f"{self.name} must return one number for one image, got shape {tuple(value.shape)}")
        return value.reshape(())


class Pyiqa(Metric):
    """A metric of the pyiqa package (pip install 'map-rps[iqa]'), which downloads its weights at first use.

    Args:
        metric: its name in pyiqa, e.g. dists, topiq_nr, musiq, niqe: pyiqa.list_models() lists them all.
        name: column name; None is pyiqa_ and the metric's name there.
        digits: decimals in tables.
        batch_size: images in one pass.
    """

    def __init__(self, metric: str, name: str | None = None, digits: int = 3, batch_size: int = 16) -> None:
        super().__init__()
        try:
            import pyiqa
        except ImportError as error:
            raise ImportError("this metric needs pyiqa: pip install 'map-rps[iqa]'") from error
        if metric not in pyiqa.list_models():
            raise ValueError(f"pyiqa has no metric {metric!r}; pyiqa.list_models() lists those it has")
        self.network = pyiqa.create_metric(metric, device="cpu").requires_grad_(False).eval()
        self.name, self.title = name or f"pyiqa_{_column(metric)}", metric
        self.digits, self.batch_size = digits, batch_size
        self.better = "lower" if self.network.lower_better else "higher"
        self.needs_reference = self.network.metric_mode == "FR"
        self.definition = f"{metric} of pyiqa {pyiqa.__version__}, mean over images"

    @torch.no_grad()
    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        self.network.device = restored.device  # pyiqa moves images to the device that it remembers
        images = [in_colour(one, self) for one in (restored, reference)[: 1 + self.needs_reference]]
        return in_batches(self.network, self.batch_size, *images)


def _column(name: str) -> str:
    """ "SpectralAngleMapper" -> "spectral_angle_mapper"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|\W+", "_", name)
    return words.strip("_").lower()
