"""SolverModule: a predict_step around a traversal, the base of every method."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from modules.batch_checks import check_batch, check_ids, check_noise, check_pictures, conditions, unusable
from modules.inference_mode import make_normal, no_inference_mode, normal
from modules.isolation import Isolation, join, rows
from rps.cost import Cost, RelativeCost
from rps.measurement import Measurement, PictureMismatch, degrade, measured
from rps.noise import Gaussian, Noise
from rps.operators.base import Operator
from rps.operators.check import check_foreign
from rps.operators.identity import Denoise
from rps.printable import printable
from rps.priors.base import Prior
from rps.protocol import RunModule, run_data
from rps.records.calibration import spread_scales
from rps.records.ids import SeenIds, repeat_reason
from rps.restoration import Level, Prediction, Restoration
from rps.traversals.base import Traversal

EXACT = ("32-true", "64-true")
"""Precisions of a Trainer that do not round measurements."""


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
        self.image_shape, self.any_size, self.relative_cost = prior.image_shape, prior.any_size, prior.relative_cost
        self.alike = operator.alike and noise is not None
        # The networks of the traversal, which move with the module and count among its weights.
        networks = [value for value in vars(traversal).values() if isinstance(value, nn.Module)]
        self.networks = nn.ModuleList(networks).requires_grad_(False).eval()
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

    def network_calls_per_image(self, levels: Sequence[Level] | None = None) -> int | None:
        traversal = self.traversal if levels is None else self.traversal.only(levels)
        return traversal.network_calls_per_image(self.prior) if traversal.levels else 0

    def result_settings(self) -> Mapping[str, Any]:
        names = ("operator", "noise", "seed", "traversal", "prior", "calibration")
        return {name: getattr(self, name) for name in names}

    def measure(self, batch: dict[str, Any]) -> Measurement:
        """The measurement of a batch to restore: the given one, or the degraded clean images, or a part of it."""
        ids = batch["id"]
        if not ids:  # of pictures of no particular size, which need not fit the operator
            return degrade(torch.zeros(0, *self.prior.image_shape, device=self.device), Denoise(), 0.0, [])
        shape = self._image_shape_of(batch)
        if "measurement" in batch:
            try:
                measurement = measured(batch["measurement"], self.operator, self.noise, shape, ids, self.seed)
            except PictureMismatch:
                check_pictures(batch, shape)
                raise
        else:
            check_pictures(batch, shape)
            assert self.noise is not None  # see check_noise
            measurement = degrade(batch["image"], self.operator, self.noise, ids, self.seed)
        return self.split(replace(measurement, conditions=conditions(batch, self.prior)))

    def _image_shape_of(self, batch: dict[str, Any]) -> tuple[int, int, int]:
        """[C, H, W] of the images of a batch: the prior's, or for a prior of any size that of the pictures."""
        channels, *size = self.prior.image_shape
        if self.any_size and "measurement" in batch:
            _, *size = self.operator.image_shape_of(tuple(batch["measurement"].shape[1:]))
        elif self.any_size:
            size = batch["image"].shape[2:]
        return channels, size[0], size[1]

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        with no_inference_mode():
            make_normal(self)
            return self._predict(normal(batch))

    def _predict(self, batch: dict[str, Any]) -> Prediction:
        check_batch(batch)
        batch, failures = self._with_unique_ids(batch)
        left = [i for i, id_ in enumerate(batch["id"]) if id_ not in self.skip_ids]
        if len(left) < len(batch["id"]):
            batch = rows(batch, left)
        self.traversal.check_ids(batch["id"])
        if batch["id"]:
            conditions(batch, self.prior)  # raises here if all data lack a condition: no sample's own failure
            check_noise(batch, self.noise)
        lacking = {level for id_ in (*batch["id"], *failures) for level in self.levels_left.get(id_, self.levels)}
        traversal = self.traversal.only(lacking) if lacking else self.traversal
        self.isolation.proven = self.isolation.proven or bool(self.skip_ids or self.levels_left)
        batch, refused = self._without_unusable(batch)
        parts, failed = self.isolation.run(batch, partial(self._restore, traversal=traversal))
        prediction = join(parts, batch, self.measure, _nothing(traversal, self.prior, self.device))
        return replace(prediction, failures={**failures, **refused, **prediction.failures, **failed})

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
        with suppress(FileNotFoundError):  # an operator that has a file for each id has none for this one
            if not self.any_size:
                zeros = torch.zeros(1, *self.prior.image_shape, device=self.device)
                degrade(zeros, self.operator, self.noise or 0.0, ["zeros"], self.seed)
        check_foreign(self.operator, self.prior.image_shape, self.device)
        self._check_sizes()
        self.isolation = Isolation()
        self.seen, self.told = SeenIds(), 0

    def _check_sizes(self) -> None:
        """Errors: ValueError if the data are degraded pictures of which none has a size that a measurement can have."""
        refused: dict[Any, str] = {}
        for id_, size in run_data(self._trainer).measured_sizes():
            if (form := size if self.operator.alike else id_) not in refused:
                picture = torch.zeros(1, self.prior.image_shape[0], *size, device=self.device)
                try:
                    measured(picture, self.operator, 0.0, self._image_shape_of({"measurement": picture}), [id_])
                except ValueError as reason:  # of pictures of any size, some may be too small for the operator
                    refused[form] = str(reason)
                except Exception:  # such as a mask that is missing: the sample will fail by itself
                    continue
                else:
                    return
        if refused:
            raise ValueError(next(iter(refused.values())))

    def on_predict_end(self) -> None:
        self.seen = None

    def _with_unique_ids(self, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The samples of a batch whose ids are new in this loop, and id -> reason of those that failed."""
        unread = list(batch.get("failed", ()))
        check_ids(batch["id"])
        check_ids([id_ for id_, _ in unread])
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
        """The samples of a batch that can be restored, and id -> reason of the others.

        Errors: ValueError if all pictures are out of range before any was restored: the data are in other units.
        """
        reasons, every = unusable(batch, self.prior, partial(self._extremes, batch))
        if every is not None and not self.isolation.proven:
            raise ValueError(every)
        good = [i for i in range(len(batch["id"])) if i not in reasons]
        return (rows(batch, good) if reasons else batch), {batch["id"][i]: why for i, why in reasons.items()}

    def _extremes(self, batch: dict[str, Any]) -> tuple[Tensor, float]:
        """The measurements of a white and a black image, and the standard deviation of their noise."""
        white = torch.ones(1, *self._image_shape_of(batch), device=self.device)
        y = [degrade(image, self.operator, 0.0, batch["id"][:1], self.seed).y for image in (white, -white)]
        return torch.cat(y), self.noise.std if self.noise else 0.0

    def _restore(self, batch: dict[str, Any], traversal: Traversal) -> Prediction:
        try:
            measurement = self.measure(batch)
        except PictureMismatch as reason:  # all pictures of a batch have one size; those of other batches may fit
            none = self.measure({"id": []})
            nothing = _nothing(traversal, self.prior, self.device)
            return Prediction([], None, none, nothing, dict.fromkeys(batch["id"], str(reason)))
        if measurement.noise.estimated:
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


def _nothing(traversal: Traversal, prior: Prior, device: torch.device) -> Restoration:
    """A restoration without images."""
    levels, images = traversal.levels, torch.zeros(0, *prior.image_shape, device=device)
    per_level: list[dict[Level, Any]] = [dict.fromkeys(levels, value) for value in (images, Cost(), 0.0)]
    return Restoration(traversal.knob, levels, per_level[0], per_level[1], Cost(), per_level[2])
