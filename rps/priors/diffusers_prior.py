"""Pixel-space diffusion models in diffusers format: a UNet2DModel and a scheduler config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rps.priors.base import Denoised, Prior
from rps.priors.parametrisation import Parametrisation

EMBEDDED = Path(__file__).parent.parent / "assets" / "embedded" / "prior"


class DiffusersPrior(Prior):
    """A UNet2DModel, asked and understood as its scheduler says (`Parametrisation.of_scheduler`).

    Schedulers with alphas_cumprod (DDPM and its relatives; the network predicts eps, v or the clean sample), EDM,
    consistency models and flow matching. With twice as many output as input channels the network predicts the variance
    of the reverse step as well (arXiv 2102.09672).

    Args:
        unet: a diffusers UNet2DModel, or anything called as unet(x, t).sample with in_channels, out_channels
            and sample_size in its config.
        scheduler: a diffusers scheduler; its noise levels and its prediction_type are used, its stepping rule is not.
        class_label: the class of all images, for a network that is conditioned on one of its num_class_embeds.
    """

    schedule: Parametrisation

    def __init__(self, unet: nn.Module, scheduler: Any, class_label: int | None = None) -> None:
        super().__init__()
        config: Any = unet.config
        if not isinstance(config.sample_size, int):
            raise ValueError(f"the UNet's config must give one sample_size, got {config.sample_size}")
        classes = config.get("num_class_embeds") or 0
        if classes and (class_label is None or not 0 <= class_label < classes):
            raise ValueError(
                f"this network knows {classes} classes; class_label must be 0 .. {classes - 1}, got {class_label}"
            )
        if class_label is not None and not classes:
            raise ValueError(f"this network knows no classes; leave out class_label, got {class_label}")
        self.class_label = class_label
        channels, out_channels = config.in_channels, config.out_channels
        if out_channels not in (channels, 2 * channels):
            raise ValueError(
                f"a UNet of {channels} input channels needs {channels} or {2 * channels} outputs, got {out_channels}"
            )
        self.schedule = Parametrisation.of_scheduler(scheduler)
        self.sample_shape = (channels, config.sample_size, config.sample_size)
        self.unet = unet.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
        class_label: int | None = None,
    ) -> DiffusersPrior:
        """The model in a folder or under a hub id (e.g. google/ddpm-celebahq-256).

        Args:
            path: a folder as a pipeline's save_pretrained writes it (unet/ and scheduler/), or with config.json and
                scheduler_config.json side by side; or the id of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: never ask the hub.
            class_label: the class of all images, for class-conditional models.
        """
        from diffusers import UNet2DModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = _load_network(UNet2DModel, path, "unet", dtype, **options)
        return cls(unet, _load(_Scheduler, path, "scheduler", **options), class_label)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        """E[x_0 | x_t] from the network's prediction.  x: [N, C, H, W], t: [N]."""
        return self._understood(x, t, self.predict)

    def predict(self, x: Tensor, time: Tensor) -> Tensor:
        """The network's output, in its own precision.  x: [N, C, H, W], time: [N]."""
        labels = {} if self.class_label is None else {"class_labels": self._labels(time, self.class_label)}
        return self.unet(x, time, **labels).sample

    def _labels(self, time: Tensor, label: int) -> Tensor:
        return torch.full_like(time, label, dtype=torch.int64)

    def _understood(self, x: Tensor, t: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Denoised:
        """What predict(scaled x, time) says of x_t."""
        unet: Any = self.unet
        scaled, time = self.schedule.question(x, t)
        output = predict(scaled.to(unet.dtype), time).to(x.dtype)
        channels = self.sample_shape[0]
        prediction, fraction = output[:, :channels], None
        if output.shape[1] == 2 * channels:
            fraction = ((output[:, channels:] + 1) / 2).detach()
        return self.schedule.answer(x, prediction, t)._replace(variance_fraction=fraction)


class EmbeddedPrior(DiffusersPrior):
    """The prior that ships with the package: 32x32 grey Fashion-MNIST images, trained by tools/train_prior.py."""

    def __init__(self) -> None:
        from diffusers import DDPMScheduler, UNet2DModel

        unet = _load(
            UNet2DModel,
            str(EMBEDDED),
            "unet",
            low_cpu_mem_usage=False,
            torch_dtype=torch.float32,
            local_files_only=True,
        )
        super().__init__(unet, _load(DDPMScheduler, str(EMBEDDED), "scheduler", local_files_only=True))


class _Scheduler:
    """Loads a scheduler as the class that its config names."""

    config_name = "scheduler_config.json"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> Any:
        import diffusers

        config = diffusers.DDPMScheduler.load_config(place, **options)
        name = config.get("_class_name", "DDPMScheduler")
        kind: Any = getattr(diffusers, str(name), None)
        known = isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)
        if not known:
            raise ValueError(f"its scheduler config names {name!r}, which is not a scheduler of diffusers")
        return kind.from_config(config)


def _dtype(name: str) -> torch.dtype:
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in dtypes:
        raise ValueError(f"dtype must be one of {', '.join(dtypes)}, got {name!r}")
    return dtypes[name]


def _load(kind: Any, path: str, subfolder: str, **options: Any) -> Any:
    """kind.from_pretrained from path/subfolder, or from path itself where files lie flat; errors in one sentence."""
    folder = Path(path)
    if folder.is_dir():
        found = [f for f in (folder / subfolder, folder) if (f / kind.config_name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"{path} has no {subfolder}/{kind.config_name}; give a model folder in diffusers format"
            )
        places: list[tuple[str, str | None]] = [(str(found[0]), None)]
    elif folder.is_file():
        raise FileNotFoundError(f"prior {path!r} is a file; a .pt file goes to rps.priors.GuidedDiffusionPrior")
    elif path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise FileNotFoundError(f"prior {path!r} is neither a folder nor a hub id of the form owner/name")
    else:
        places = [(path, subfolder), (path, None)]
    reason: Exception | None = None
    for place, sub in places:
        try:
            with _silent_diffusers():
                return kind.from_pretrained(place, **({"subfolder": sub} if sub else {}), **options)
        except Exception as error:  # diffusers raises many kinds; every one of them means that the model is unusable
            reason = reason or error
            if _chain_names(error) & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
                raise OSError(
                    f"{path} is not in the local cache, and the Hugging Face hub could not be reached; fetch it once "
                    "on a machine with a network, or give the folder of a model"
                ) from error
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    if "UnpicklingError" in _chain_names(reason):
        first_line = "its weights are no file of tensors alone; what else a pickle holds could run code and is refused"
    raise ValueError(f"cannot load {kind.__name__} from {path!r}: {first_line}") from reason


def _chain_names(error: BaseException | None) -> set[str]:
    """The classes of an error and of all that led to it."""
    names = set()
    while error is not None:
        names.add(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names


def _load_network(kind: Any, path: str, subfolder: str, dtype: str, **options: Any) -> Any:
    """`_load` of a network, all of whose tensors must be there."""
    weights: dict[str, Any] = {"torch_dtype": _dtype(dtype), "low_cpu_mem_usage": False}
    network, loaded = _load(kind, path, subfolder, output_loading_info=True, **weights, **options)
    if loaded["missing_keys"]:  # diffusers goes on with random numbers
        missing = sorted(loaded["missing_keys"])
        raise ValueError(
            f"{path!r} lacks {len(missing)} of the network's tensors, e.g. {missing[0]}; download it again"
        )
    return network


@contextmanager
def _silent_diffusers() -> Iterator[None]:
    """Without its log: what it remarks on is an error here, and is told once."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
