"""What every solver module shares: a predict_step around a traversal."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from rps.measurement import Measurement, PictureMismatch, degrade, measured
from rps.noise import Gaussian, Noise
from rps.operators.base import Operator
from rps.priors.base import Prior
from rps.progress import Progress, silent
from rps.restoration import Prediction
from rps.traversals.base import Traversal


class SolverModule(L.LightningModule):
    """Degrade a batch (or take the given measurement), restore it at every level, return a Prediction.

    A batch is a dict: "id" N names; "image" clean [N, C, H, W] in [-1, 1], or "measurement" pictures that are already
    degraded; "failed" (id, reason) of samples that could not be read. Subclasses build the traversal from their own
    typed arguments, which are the user's form.

    Use Trainer(inference_mode=False): samplers such as DPS differentiate through the network.
    """

    progress: Progress

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
            return measured(pictures, self.operator, self.noise, self.prior.image_shape, ids, self.seed)
        images = batch["image"]
        self._check_channels(images)
        if len(images) and tuple(images.shape[1:]) != tuple(self.prior.image_shape):
            raise ValueError(
                f"the data are {_size(images)} but the prior makes {_size(torch.empty(0, *self.prior.image_shape))} "
                "images; set the size of the data to that of the prior"
            )
        return degrade(images, self.operator, self.noise, ids, self.seed)

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        if torch.is_inference_mode_enabled():
            raise ValueError(
                f"{type(self).__name__} needs gradients, which inference mode forbids; "
                "use Trainer(inference_mode=False)"
            )
        failures = dict(batch.get("failed", ()))
        try:
            measurement = self.measure(batch)
        except PictureMismatch as reason:  # pictures of one batch have one size: those of others may well fit
            failures |= dict.fromkeys(batch["id"], str(reason))
            batch = {"id": []}
            measurement = self.measure(batch)
        restoration = self.traversal.run(measurement, self.prior, self.progress)
        return Prediction(list(batch["id"]), batch.get("image"), measurement, restoration, failures)

    def _check_channels(self, pictures: Tensor) -> None:
        channels = self.prior.image_shape[0]
        if len(pictures) and pictures.shape[1] != channels:
            raise ValueError(
                f"the data have {pictures.shape[1]} channels but the prior has {channels}; "
                "choose data with as many channels (--data.channels) or another prior (--model.prior)"
            )


def _size(images: Tensor) -> str:
    return " x ".join(str(n) for n in images.shape[2:])
