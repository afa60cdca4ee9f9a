"""SolverModule: a predict_step around a traversal, the base of every method."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor

from modules.inference_mode import make_normal, no_inference_mode, normal
from modules.isolation import Isolation, join, rows
from rps.cost import Cost, RelativeCost
from rps.image_checks import LARGEST, range_reason
from rps.measurement import Measurement, PictureMismatch, degrade, measured
from rps.noise import Estimated, Gaussian, Noise
from rps.operators.base import Operator
from rps.printable import printable
from rps.priors.analytic.base import AnalyticPrior
from rps.priors.base import Prior
from rps.protocol import RunModule, run_data
from rps.randomness import Streams
from rps.records.calibration import spread_scales
from rps.records.ids import SeenIds, repeat_reason
from rps.restoration import Level, Prediction, Restoration
from rps.traversals.base import Traversal

EXACT = ("32-true", "64-true")
"""Precisions of a Trainer that do not round measurements."""


ABSURD = 50
"""A measurement without negative values that exceeds those of white and black by this factor is in 8 or 16 bits."""


MOST_TOLD = 5
"""Largest number of estimates of noise that a process prints."""


class SolverModule(L.LightningModule, RunModule):
    """Degrades a batch (or uses the given measurement), restores it at every level and returns a Prediction.

    A batch is a dict: "id" N names; "image" clean [N, C, H, W] in [-1, 1], or "measurement" pictures that are already
    degraded; "caption" N texts or "label" N classes, if the prior needs them; "failed" (id, reason) of samples that
    could not be read. Subclasses (modules/methods.py) build the traversal from their own arguments.

    A sample that fails is listed in the Prediction's failures with its reason, and the rest of its batch is restored;
    see modules/isolation.py. Pictures with NaN or values far outside [-1, 1] fail, and so do repeats of an id.

    Samplers such as DPS differentiate through the network, which inference mode forbids. A Trainer therefore predicts
    with this module, and calls its callbacks, outside inference mode; `predict_step` also leaves it by itself.

    Args:
        prior: the model of clean images, e.g. rps.priors.EmbeddedPrior.
        operator: the model of the instrument, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or a noise such as
            rps.noise.Poisson; null estimates that of each degraded picture (rps.noise.estimate_noise).
        seed: seed of masks, noise and every other random number; a result is a function of (seed, sample id).
        relative_cost: relative costs of the prior's networks, which replace its relative_cost; those that are not given
            are the defaults of RelativeCost.
        calibration: a run of this config on clean pictures with several samples per level; what it found multiplies the
            standard deviations of samples (rps.records.calibration). None leaves them as they are.
        traversal: the method, e.g. rps.traversals.MapRps or your own.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Adds the arguments that all methods share to the docstring of a method."""
        super().__init_subclass__(**kwargs)
        whole = inspect.getdoc(SolverModule) or ""
        if whole and "Args:" not in (cls.__doc__ or ""):
            shared = whole[whole.index("Args:") : whole.index("\n    traversal:")]
            more = f"kwargs: the arguments of rps.traversals.{cls.__name__}, where the module is one of ours."
            cls.__doc__ = f"{cls.__doc__ or cls.__name__}\n\n{shared}\n    {more}"

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise | None,
        traversal: Traversal,
        seed: int = 0,
        relative_cost: RelativeCost | None = None,
        calibration: str | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior.requires_grad_(False).eval()
        if relative_cost is not None:
            self.prior.relative_cost = relative_cost
        self.operator = operator
        self.noise = noise if noise is None or isinstance(noise, Noise) else Gaussian(noise)
        self.traversal = traversal
        self.seed = seed
        self.isolation = Isolation()
        self.seen: SeenIds | None = None  # ids of the current predict loop
        self.told = 0  # estimates of noise that were printed
        for name in ("knob", "levels"):
            if not hasattr(traversal, name):
                raise ValueError(f"{type(traversal).__name__} has no {name}; a traversal sets knob and levels")
        self.calibration = calibration
        self.scales = spread_scales(calibration, traversal.knob, traversal.levels) if calibration else {}
        # Reports wrong levels and grids before any data are read.
        self.traversal.network_calls_per_image(prior)

    @property
    def knob(self) -> str:  # type: ignore[override]
        return self.traversal.knob

    @property
    def levels(self) -> Sequence[Level]:  # type: ignore[override]
        return self.traversal.levels

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return self.prior.image_shape

    @property
    def relative_cost(self) -> RelativeCost:  # type: ignore[override]
        return self.prior.relative_cost

    @property
    def alike(self) -> bool:  # type: ignore[override]
        return self.operator.alike and self.noise is not None

    def network_calls_per_image(self, levels: Sequence[Level] | None = None) -> int:
        traversal = self.traversal if levels is None else self.traversal.only(levels)
        return traversal.network_calls_per_image(self.prior) if traversal.levels else 0

    def measure(self, batch: dict[str, Any]) -> Measurement:
        """The measurement of a batch to restore: the given one, or the degraded clean images, or a part of it."""
        ids = batch["id"]
        if not ids:
            none, streams = torch.zeros(0, 1, device=self.device), Streams(self.seed, [], self.device)
            return Measurement(none, self.operator, 0.0, self.prior.image_shape, streams)
        if "measurement" in batch:
            pictures = batch["measurement"]
            try:
                measurement = measured(pictures, self.operator, self.noise, self.prior.image_shape, ids, self.seed)
            except PictureMismatch:
                self._check_channels(pictures)
                raise
            return self.split(replace(measurement, conditions=self._conditions(batch)))
        assert self.noise is not None  # see _predict
        images = batch["image"]
        self._check_channels(images)
        if len(images) and tuple(images.shape[1:]) != tuple(self.prior.image_shape):
            raise ValueError(
                f"the data are {_size(images)} but the prior's images are "
                f"{_size(torch.empty(0, *self.prior.image_shape))}; set the size of the data to that of the prior"
            )
        measurement = degrade(images, self.operator, self.noise, ids, self.seed)
        return self.split(replace(measurement, conditions=self._conditions(batch)))

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        with no_inference_mode():
            make_normal(self)
            return self._predict(normal(batch))

    def _predict(self, batch: dict[str, Any]) -> Prediction:
        _check_batch(batch)
        batch, failures = self._with_unique_ids(batch)
        left = [i for i, id_ in enumerate(batch["id"]) if id_ not in self.skip_ids]
        if len(left) < len(batch["id"]):
            batch = rows(batch, left)
        if batch["id"]:
            self._conditions(batch)  # raises here if all data lack a condition: no sample's own failure
            if self.noise is None and "measurement" not in batch:
                raise ValueError(
                    "noise is null, but it is estimated of degraded pictures only; give the standard deviation of the "
                    "noise that these clean pictures get (--model.noise)"
                )
        traversal = self._traversal_for([*batch["id"], *failures])
        self.isolation.proven = self.isolation.proven or bool(self.skip_ids or self.levels_left)
        batch, unusable = self._without_unusable(batch)
        parts, failed = self.isolation.run(batch, partial(self._restore, traversal=traversal))
        prediction = join(parts, batch, self.measure, _nothing(traversal, self.prior, self.device))
        return replace(prediction, failures={**failures, **unusable, **prediction.failures, **failed})

    def setup(self, stage: str) -> None:
        """Takes the Trainer's predict loop, and thus its data and callbacks, out of inference mode."""
        self.trainer.predict_loop.inference_mode = False

    def on_predict_start(self) -> None:
        """Reports parts that do not fit together before any data are read."""
        if self._trainer is not None and self.trainer.precision not in EXACT:
            raise ValueError(
                f"trainer.precision {self.trainer.precision} would also round the measurements; leave it at 32-true "
                "and give the prior a dtype (--model.prior.dtype bfloat16), which affects only its network"
            )
        zeros = torch.zeros(1, *self.prior.image_shape, device=self.device)
        with suppress(FileNotFoundError):  # an operator that has a file for each id has none for this one
            degrade(zeros, self.operator, self.noise or 0.0, ["zeros"], self.seed)
            self._check_sizes()
        self.isolation = Isolation()
        self.seen, self.told = SeenIds(), 0

    def _check_sizes(self) -> None:
        """Errors: ValueError if the data are degraded pictures of which none has a size that a measurement can have."""
        refused: dict[tuple[int, int], str] = {}
        for size in run_data(self._trainer).measured_sizes():
            if size not in refused:
                picture = torch.zeros(1, self.prior.image_shape[0], *size, device=self.device)
                try:
                    measured(picture, self.operator, 0.0, self.prior.image_shape, ["zeros"])
                except PictureMismatch as reason:
                    refused[size] = str(reason)
                else:
                    return
        if refused:
            raise ValueError(next(iter(refused.values())))

    def on_predict_end(self) -> None:
        self.seen = None

    def _with_unique_ids(self, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The samples of a batch whose ids are new in this loop, and id -> reason of those that failed."""
        unread = list(batch.get("failed", ()))
        _check_ids(batch["id"])
        _check_ids([id_ for id_, _ in unread])
        seen = self.seen or SeenIds()
        failures, first = {}, []
        for i, id_ in enumerate(batch["id"]):
            if (name := seen.unique(id_)) == id_:
                first.append(i)
            else:
                failures[name] = repeat_reason(id_)
        for id_, why in unread:
            failures[seen.unique(id_)] = why
        batch = rows(batch, first) if len(first) < len(batch["id"]) else batch
        return batch, {id_: why for id_, why in failures.items() if id_ not in self.skip_ids}

    def _without_unusable(self, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The samples of a batch that can be restored, and id -> reason of those with NaN or far outside [-1, 1].

        Images of an AnalyticPrior, usually a mixture of Gaussians, may have any values. The range of a measurement is
        known only for operators with positive weights, so only absurd measurements are refused: see ABSURD.

        Errors: ValueError if all pictures are out of range before any was restored: the data are in other units.
        """
        pictures = batch["measurement"] if "measurement" in batch else batch.get("image")
        if not batch["id"] or pictures is None or not pictures.is_floating_point() or len(pictures) != len(batch["id"]):
            return batch, {}
        finite, largest = pictures.isfinite().flatten(1).all(1), pictures.abs().flatten(1).amax(1)
        limit = math.inf if isinstance(self.prior, AnalyticPrior) else LARGEST
        if "measurement" in batch:
            largest = largest.masked_fill((pictures < 0).flatten(1).any(1), 0)
            if limit < math.inf:
                limit = self._absurd_measurement(batch["id"][0]) if bool((largest > ABSURD).any()) else ABSURD
        ranges = {i: range_reason(pictures[i]) for i in (largest > limit).logical_and(finite).nonzero()[:, 0].tolist()}
        if ranges and not self.isolation.proven and len(ranges) == int(finite.sum()):
            raise ValueError(next(iter(ranges.values())))
        reasons = (
            dict.fromkeys((~finite).nonzero()[:, 0].tolist(), "the picture has values that are not finite") | ranges
        )
        good = [i for i in range(len(finite)) if i not in reasons]
        return (rows(batch, good) if reasons else batch), {batch["id"][i]: why for i, why in reasons.items()}

    def _absurd_measurement(self, id_: str) -> float:
        """A bound that non-negative measurements exceed only if they are in other units.  id_: of a sample."""
        white = torch.ones(1, *self.prior.image_shape, device=self.device)
        y = degrade(torch.cat([white, -white]), self.operator, 0.0, [id_, id_], self.seed).y
        return ABSURD * max(1.0, float(y.abs().max())) + 6 * (self.noise.std if self.noise else 0.0)

    def _traversal_for(self, ids: Sequence[str]) -> Traversal:
        """The traversal at the levels that some of these samples lack."""
        wanted = {level for id_ in ids for level in self.levels_left.get(id_, self.levels)}
        return self.traversal.only(wanted) if wanted else self.traversal

    def _restore(self, batch: dict[str, Any], traversal: Traversal) -> Prediction:
        try:
            measurement = self.measure(batch)
        except PictureMismatch as reason:  # all pictures of a batch have one size; those of other batches may fit
            none = self.measure({"id": []})
            nothing = _nothing(traversal, self.prior, self.device)
            return Prediction([], None, none, nothing, dict.fromkeys(batch["id"], str(reason)))
        if isinstance(measurement.noise, Estimated):
            self._tell(batch["id"], measurement.noise_std)
        restoration = traversal.run(measurement, self.prior, self.progress)
        spread = {level: self.scales.get(level, 1.0) * std for level, std in restoration.spread.items()}
        restoration = replace(restoration, spread=spread)
        return Prediction(list(batch["id"]), batch.get("image"), measurement, restoration)

    def _tell(self, ids: Sequence[str], noise_std: float) -> None:
        """Prints an estimate of the noise; the records have those that are not printed."""
        self.told += 1
        if self.told <= MOST_TOLD:
            names = printable(", ".join(ids[:3])) + (", ..." if len(ids) > 3 else "")
            more = "" if self.told < MOST_TOLD else "; further estimates are in the records only"
            print(f"rps: noise of {noise_std:.3g} estimated for {names} (--model.noise sets it){more}", file=sys.stderr)

    def _conditions(self, batch: dict[str, Any]) -> dict[str, Sequence[Any]]:
        """The conditions of each sample that the prior needs."""
        if self.prior.needs is None:
            return {}
        name, instead = self.prior.needs
        if name not in batch:
            raise ValueError(
                f"the prior is conditioned on the {name} of each image, but the data have no {name}s; name their "
                f"column (--data.{name}_column, of datamodules.HuggingFace) or give one for all (--model.prior."
                f"{instead})"
            )
        return {name: batch[name]}

    def _check_channels(self, pictures: Tensor) -> None:
        channels = self.prior.image_shape[0]
        if len(pictures) and pictures.shape[1] != channels:
            raise ValueError(
                f"the data have {pictures.shape[1]} channels but the prior has {channels}; "
                "choose data with the same number of channels (--data.channels) or another prior (--model.prior)"
            )


def _nothing(traversal: Traversal, prior: Prior, device: torch.device) -> Restoration:
    """A restoration without images."""
    levels, images = traversal.levels, torch.zeros(0, *prior.image_shape, device=device)
    per_level: list[dict[Level, Any]] = [dict.fromkeys(levels, value) for value in (images, Cost(), 0.0)]
    return Restoration(traversal.knob, levels, per_level[0], per_level[1], Cost(), per_level[2])


def _check_batch(batch: Any) -> None:
    """Errors: ValueError for a batch of another form than the class describes."""
    if not isinstance(batch, dict) or "id" not in batch or not {"image", "measurement"} & batch.keys():
        got = (
            f"a dict with {', '.join(map(str, batch)) or 'nothing'}"
            if isinstance(batch, dict)
            else type(batch).__name__
        )
        raise ValueError(
            f'a batch must be a dict with "id" (a list of names) and "image" or "measurement" (tensors), got {got}; '
            "let the predict dataloader yield such dicts"
        )


def _check_ids(ids: Any) -> None:
    """Errors: ValueError for ids that are not texts or cannot be written to a file."""
    if isinstance(ids, Tensor) or not all(isinstance(id_, str) for id_ in ids):
        kinds = f"a tensor of {ids.dtype}" if isinstance(ids, Tensor) else f"{type(ids).__name__} with {list(ids)[:3]}"
        raise ValueError(f"the ids of a batch must be a list of texts, got {kinds}; give [str(i) for i in ids]")
    for id_ in ids:
        if any("\ud800" <= character <= "\udfff" for character in id_):
            raise ValueError(
                f"the id {id_!r} holds a lone surrogate, which no file can hold; give texts that UTF-8 can encode"
            )


def _size(images: Tensor) -> str:
    return " x ".join(str(n) for n in images.shape[2:])
