"""DiffusersPrior: pixel-space diffusion models in diffusers format, a UNet2DModel and a scheduler config."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Denoised, Need, Prior
from rps.priors.loading import SchedulerLoader, load, load_network
from rps.priors.parametrisation import Parametrisation
from rps.priors.speed import Speed
from rps.randomness import Streams
from rps.shallow import shallow_copy


class DiffusersPrior(Prior):
    """A UNet2DModel whose inputs and outputs its scheduler defines (`Parametrisation.of_scheduler`).

    Supports schedulers with alphas_cumprod (DDPM and similar; the network predicts eps, v or the clean sample), EDM,
    consistency models and flow matching. A network with twice as many output as input channels also predicts the
    variance of the reverse step (arXiv 2102.09672).

    Args:
        unet: a diffusers UNet2DModel, or anything called as unet(x, t).sample with in_channels, out_channels
            and sample_size in its config.
        scheduler: a diffusers scheduler; its noise levels and prediction_type are used, its stepping rule is not.
        class_label: class of all images, for a network conditioned on num_class_embeds classes or, as a
            UNet2DConditionModel, on encoder_hid_dim classes by cross-attention. None uses each sample's class, which
            the batch must contain.
        image_size: height and width of the images, a multiple of 2^(levels - 1); None is the UNet config's sample_size.
        speed: compilation and memory layout of the network.
        guidance_scale: g of u + g (c - u), c and u the network's output with the sample's class and with the last
            class, which must mean "no class". Any g other than 1 needs two evaluations of the network, both of which
            are counted.
    """

    schedule: Parametrisation
    streams: Streams | None = None
    """Random numbers of the rows that `given` bound this prior to."""
    conditions: Any = None
    """Conditions of the same rows, see `condition`."""

    def __init__(
        self,
        unet: nn.Module,
        scheduler: Any,
        class_label: int | None = None,
        image_size: int | None = None,
        speed: Speed = Speed(),
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__()
        config: Any = unet.config
        _check_conditions(config)
        size = sample_size(config, image_size)
        self.classes = classes = int(config.get("num_class_embeds") or config.get("encoder_hid_dim") or 0)
        if class_label is not None and not classes:
            raise ValueError(f"class_label is {class_label}, but this network has no classes; leave class_label out")
        self.class_label = None if class_label is None else self._class_index(class_label, "class_label")
        self.needs = Need("label", "class_label") if classes and class_label is None else None
        if not math.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")
        self.guidance_scale = guidance_scale
        self.evaluations = 2 if guidance_scale != 1 and classes else 1
        channels, out_channels = config.in_channels, config.out_channels
        if out_channels not in (channels, 2 * channels):
            raise ValueError(
                f"a UNet of {channels} input channels must have {channels} or {2 * channels} output channels, got "
                f"{out_channels}"
            )
        self.schedule = Parametrisation.of_scheduler(scheduler)
        self.sample_shape = (channels, size, size)
        self.multiple = levels_factor(config)
        self.unet = unet.eval().requires_grad_(False)
        speed.apply(unet)

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
        class_label: int | None = None,
        image_size: int | None = None,
        speed: Speed = Speed(),
        guidance_scale: float = 1.0,
    ) -> DiffusersPrior:
        """Loads a model from a folder or from the hub (e.g. google/ddpm-celebahq-256).

        Args:
            path: a folder as a pipeline's save_pretrained writes it (unet/ and scheduler/), or with config.json and
                scheduler_config.json side by side; or the id of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: precision of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: whether to use only local files and never contact the hub.
            class_label: class of all images, for class-conditional models; None uses each sample's class.
            image_size: height and width of the images; None is the UNet config's sample_size.
            speed: compilation and memory layout of the network.
            guidance_scale: scale of classifier-free guidance, for a network whose last class means "no class"; 1 is
                none.
        """
        from diffusers import UNet2DModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = load_network(UNet2DModel, path, "unet", dtype, **options)
        scheduler = load(SchedulerLoader, path, "scheduler", **options)
        return cls(unet, scheduler, class_label, image_size, speed, guidance_scale)

    def given(self, measurement: Measurement) -> Prior:
        return shallow_copy(self, streams=measurement.streams, conditions=self.condition(measurement))

    def condition(self, measurement: Measurement) -> Any:
        """The condition of each row, its class, [N]; None if all rows share one.

        Errors: ValueError for a row without a class, or with a class that the network does not have.
        """
        if self.needs is None:
            return None
        labels = [self._class_index(label, self.needs.name) for label in self._own(measurement, self.needs)]
        return torch.tensor(labels, dtype=torch.int64, device=measurement.y.device)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        """E[x_0 | x_t] from the network's prediction.  x: [N, *sample_shape], t: [N]."""
        if self.needs and self.conditions is None:
            raise ValueError(_lacks_condition(self.needs))
        if self.streams is not None and self.conditions is not None and len(x) != len(self.streams):
            raise ValueError(
                f"x has {len(x)} rows, but the prior is bound to {len(self.streams)}; bind it to the measurement of "
                "these rows with prior.given(measurement)"
            )
        return self._interpret(x, t, lambda scaled, time: self.predict(scaled, time, self.conditions))

    def predict(self, x: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        """The network's output, with guidance if there is any, in its precision.  x: [N, *sample_shape], time: [N].
        condition: see `condition`."""
        unet: Any = self.unet
        if not self.classes:
            return unet(x, time).sample
        label: Any = self.class_label
        labels = torch.full_like(time, label, dtype=torch.int64) if condition is None else condition
        output = self._of_class(x, time, labels)
        if self.evaluations == 1:
            return output
        return guide(output, self._of_class(x, time, torch.full_like(labels, self.classes - 1)), self.guidance_scale)

    def _of_class(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """The network's output for a class per row.  labels: [N]."""
        unet: Any = self.unet
        if unet.config.get("num_class_embeds"):
            return unet(x, time, class_labels=labels).sample
        one = torch.nn.functional.one_hot(labels, self.classes).to(x.dtype)
        return unet(x, time, encoder_hidden_states=one[:, None]).sample

    def _own(self, measurement: Measurement, need: Need) -> Sequence[Any]:
        """The condition values of the rows."""
        values = measurement.conditions.get(need.name, ())
        if len(values) != len(measurement):
            raise ValueError(_lacks_condition(need))
        return values

    def _class_index(self, label: Any, name: str) -> int:
        """A class as an integer.  Errors: ValueError for a class that the network does not have."""
        try:
            index = operator.index(label)
        except TypeError:
            index = -1
        if not 0 <= index < self.classes:
            raise ValueError(
                f"this network has {self.classes} classes; {name} must be 0 .. {self.classes - 1}, got {label!r}"
            )
        return index

    def _interpret(self, x: Tensor, t: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Denoised:
        """The Denoised for the output of predict(scaled x, time)."""
        unet: Any = self.unet
        scaled, time = self.schedule.question(x, t)
        output = predict(scaled.to(unet.dtype), time).to(x.dtype).contiguous()
        channels = self.sample_shape[0]
        prediction, fraction = output[:, :channels], None
        if output.shape[1] == 2 * channels:
            fraction = ((output[:, channels:] + 1) / 2).detach()
        return self.schedule.answer(x, prediction, t)._replace(variance_fraction=fraction)


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """u + g (c - u), classifier-free guidance (arXiv 2207.12598)."""
    return unconditional + scale * (conditional - unconditional)


LARGEST = 16384
"""Largest height and width of images, in pixels, so that a config from elsewhere cannot ask for terabytes."""


def sample_size(config: Any, image_size: int | None = None, stride: int = 1) -> int:
    """Height and width of a UNet's samples: image_size / stride if given, else the sample_size of its config.

    stride: stride of the autoencoder, in pixels. Errors: ValueError if the config has no single number, or if the
    levels of the UNet cannot halve the samples.
    """
    factor = levels_factor(config)
    if image_size is not None:
        if not 1 <= image_size <= LARGEST or image_size % (stride * factor):
            raise ValueError(
                f"image_size must be a multiple of {stride * factor} for this network, got {image_size} "
                f"(at most {LARGEST})"
            )
        return image_size // stride
    given = config.sample_size
    sizes = {given} if isinstance(given, int) else set(given or ())
    if len(sizes) != 1:
        raise ValueError(f"the UNet's config has sample_size {given}, expected one number; give image_size")
    (size,) = sizes
    if not isinstance(size, int) or not 1 <= size <= LARGEST // stride or size % factor:
        raise ValueError(
            f"the UNet's config has sample_size {size}, expected a multiple of {factor} for its levels; give "
            f"image_size, a multiple of {stride * factor} and at most {LARGEST}"
        )
    return size


def levels_factor(config: Any) -> int:
    """The factor by which the levels of a UNet shrink its samples."""
    return int(2 ** (len(config.get("block_out_channels") or (0,)) - 1))


CONDITIONS: dict[str, tuple[str | None, ...]] = {
    "class_embed_type": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text_time"),
}
"""Types of conditions in a UNet's config, and the supported values: classes by a table, and texts."""


def _check_conditions(config: Any) -> None:
    """Errors: ValueError if the network has a condition that no prior here supports."""
    for name, supported in CONDITIONS.items():
        if (kind := config.get(name)) not in supported:
            raise ValueError(
                f"the UNet's config has {name} {kind!r}, which is not supported; use a network that is unconditional, "
                "or conditioned on classes by a table (num_class_embeds, class_embed_type null) or on texts"
            )


def _lacks_condition(need: Need) -> str:
    return (
        f"this prior is conditioned on the {need.name} of each sample and got none; use prior.given(measurement) with "
        f"a {need.name} per sample in the measurement's conditions, or give a {need.instead} for all"
    )
