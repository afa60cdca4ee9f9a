"""What every solver module shares: a predict_step around a traversal."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor

from modules.isolation import Isolation, joined, rows
from rps.measurement import Measurement, PictureMismatch, degrade, measured
from rps.noise import Gaussian, Noise
from rps.operators.base import Operator
from rps.priors.base import Prior
from rps.progress import Progress, silent
from rps.restoration import Level, Prediction, Restoration
from rps.traversals.base import Traversal

EXACT = ("32-true", "64-true")
"""Precisions of a Trainer in which measurements are what they should be."""


class SolverModule(L.LightningModule):
    """Degrade a batch (or take the given measurement), restore it at every level, return a Prediction.

    A batch is a dict: "id" N names; "image" clean [N, C, H, W] in [-1, 1], or "measurement" pictures that are already
    degraded; "caption" N texts or "label" N classes, where the prior needs them; "failed" (id, reason) of samples that
    could not be read. Subclasses build the traversal from their own typed arguments, which are the user's form.

    A sample that fails is a failure of the Prediction, with its reason, and the others of its batch go on; see
    modules/isolation.py.

    Use Trainer(inference_mode=False): samplers such as DPS differentiate through the network.
    """

    progress: Progress
    skip_ids: Set[str] = frozenset()
    """Samples that a run which goes on has done; those of them that come nevertheless are passed over."""

    def __init__(
        self, prior: Prior, operator: Operator, noise_std: float | Noise, traversal: Traversal, seed: int = 0
    ) -> None:
        super().__init__()
        self.prior = prior.requires_grad_(False).eval()
        self.operator = operator
        self.noise = noise_std if isinstance(noise_std, Noise) else Gaussian(noise_std)
        self.traversal = traversal
        self.seed = seed
        self.progress = silent
        self.isolation = Isolation()
        # Wrong levels and grids are told before any data are read.
        self.traversal.network_calls_per_image(prior)

    def network_calls_per_image(self) -> int:
        """Images through the network for one sample over all levels."""
        return self.traversal.network_calls_per_image(self.prior)

    def measure(self, batch: dict[str, Any]) -> Measurement:
        """The measurement of a batch: its own one, or the clean images degraded."""
        ids = batch["id"]
        if not ids:
            return degrade(torch.zeros(0, *self.prior.image_shape, device=self.device), self.operator, self.noise, [])
        if "measurement" in batch:
            pictures = batch["measurement"]
            self._check_channels(pictures)
            measurement = measured(pictures, self.operator, self.noise, self.prior.image_shape, ids, self.seed)
            return replace(measurement, conditions=self._conditions(batch))
        images = batch["image"]
        self._check_channels(images)
        if len(images) and tuple(images.shape[1:]) != tuple(self.prior.image_shape):
            raise ValueError(
                f"the data are {_size(images)} but the prior makes {_size(torch.empty(0, *self.prior.image_shape))} "
                "images; set the size of the data to that of the prior"
            )
        measurement = degrade(images, self.operator, self.noise, ids, self.seed)
        return replace(measurement, conditions=self._conditions(batch))

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        if torch.is_inference_mode_enabled():
            raise ValueError(
                f"{type(self).__name__} needs gradients, which inference mode forbids; "
                "use Trainer(inference_mode=False)"
            )
        failures = {id_: why for id_, why in batch.get("failed", ()) if id_ not in self.skip_ids}
        left = [i for i, id_ in enumerate(batch["id"]) if id_ not in self.skip_ids]
        if len(left) < len(batch["id"]):
            batch = rows(batch, left)
        if batch["id"]:
            self._conditions(batch)  # what all data lack is no sample's own failure
        self.isolation.proven = self.isolation.proven or bool(self.skip_ids)
        parts, failed = self.isolation.run(batch, self._restore)
        prediction = joined(parts, batch, self.measure, self._nothing())
        return replace(prediction, failures={**failures, **prediction.failures, **failed})

    def on_predict_start(self) -> None:
        """What does not fit together is reported before any data are read."""
        if self.trainer.precision not in EXACT:
            raise ValueError(
                f"trainer.precision {self.trainer.precision} would round the measurements as well; leave it at 32-true "
                "and give the prior a dtype (--model.prior.dtype bfloat16), which is the network's alone"
            )
        zeros = torch.zeros(1, *self.prior.image_shape, device=self.device)
        degrade(zeros, self.operator, self.noise, ["zeros"], self.seed)
        self.isolation = Isolation()

    def _restore(self, batch: dict[str, Any]) -> Prediction:
        try:
            measurement = self.measure(batch)
        except PictureMismatch as reason:  # pictures of one batch have one size: those of others may well fit
            none = self.measure({"id": []})
            return Prediction([], None, none, self._nothing(), dict.fromkeys(batch["id"], str(reason)))
        restoration = self.traversal.run(measurement, self.prior, self.progress)
        return Prediction(list(batch["id"]), batch.get("image"), measurement, restoration)

    def _nothing(self) -> Restoration:
        """The restoration of no images."""
        levels = self.traversal.levels
        images = torch.zeros(0, *self.prior.image_shape, device=self.device)
        calls = torch.zeros(0, dtype=torch.int64)
        per_level: list[dict[Level, Any]] = [dict.fromkeys(levels, value) for value in (images, calls, 0.0)]
        return Restoration(self.traversal.knob, levels, per_level[0], per_level[1], calls, per_level[2])

    def _conditions(self, batch: dict[str, Any]) -> dict[str, Sequence[Any]]:
        """What the prior must be told of each sample."""
        if self.prior.needs is None:
            return {}
        name, instead = self.prior.needs
        if name not in batch:
            raise ValueError(
                f"the prior is told the {name} of each image, but the data come without {name}s; name their column "
                f"(--data.{name}_column, of datamodules.HuggingFace) or give one for all (--model.prior.{instead})"
            )
        return {name: batch[name]}

    def _check_channels(self, pictures: Tensor) -> None:
        channels = self.prior.image_shape[0]
        if len(pictures) and pictures.shape[1] != channels:
            raise ValueError(
                f"the data have {pictures.shape[1]} channels but the prior has {channels}; "
                "choose data with as many channels (--data.channels) or another prior (--model.prior)"
            )


def _size(images: Tensor) -> str:
    return " x ".join(str(n) for n in images.shape[2:])
