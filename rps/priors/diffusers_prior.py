"""Pixel-space diffusion models in diffusers format: a UNet2DModel and a scheduler config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rps.priors.base import Denoised, Prior
from rps.schedule import Schedule

EMBEDDED = Path(__file__).parent.parent / "assets" / "embedded" / "prior"


class DiffusersPrior(Prior):
    """A UNet2DModel with any scheduler that has alphas_cumprod.

    The network may predict eps, v or the clean sample (the scheduler's `prediction_type`), and, with twice as many
    output as input channels, the variance of the reverse step as well (arXiv 2102.09672).

    Args:
        unet: a diffusers UNet2DModel, or anything called as unet(x, t).sample with in_channels, out_channels
            and sample_size in its config.
        scheduler: a diffusers scheduler; its betas and its prediction_type are used, its stepping rule is not.
    """

    def __init__(self, unet: nn.Module, scheduler: Any) -> None:
        super().__init__()
        config: Any = unet.config
        if not isinstance(config.sample_size, int):
            raise ValueError(f"the UNet's config must give one sample_size, got {config.sample_size}")
        self.prediction_type = scheduler.config.get("prediction_type", "epsilon")
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(
                f"the scheduler's prediction_type must be epsilon, v_prediction or sample, got {self.prediction_type!r}"
            )
        channels, out_channels = config.in_channels, config.out_channels
        if out_channels not in (channels, 2 * channels):
            raise ValueError(
                f"a UNet of {channels} input channels needs {channels} or {2 * channels} outputs, got {out_channels}"
            )
        self.schedule = Schedule.from_scheduler(scheduler)
        self.sample_shape = (channels, config.sample_size, config.sample_size)
        self.unet = unet.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, path: str, revision: str | None = None, dtype: str = "float32", local_files_only: bool = False
    ) -> DiffusersPrior:
        """The model in a folder or under a hub id (e.g. google/ddpm-celebahq-256).

        Args:
            path: a folder as DDPMPipeline.save_pretrained writes it (unet/ and scheduler/), or with config.json and
                scheduler_config.json side by side; or the id of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: never ask the hub.
        """
        from diffusers import DDPMScheduler, UNet2DModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = _load(UNet2DModel, path, "unet", torch_dtype=_dtype(dtype), low_cpu_mem_usage=False, **options)
        scheduler = _load(DDPMScheduler, path, "scheduler", **options)
        return cls(unet, scheduler)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        """E[x_0 | x_t] by Tweedie's formula from the network's prediction.  x: [N, C, H, W], t: [N]."""
        unet: Any = self.unet
        output = unet(x.to(unet.dtype), t).sample.to(x.dtype)
        channels = self.sample_shape[0]
        prediction, fraction = output[:, :channels], None
        if output.shape[1] == 2 * channels:
            fraction = ((output[:, channels:] + 1) / 2).detach()
        parametrisation = {"epsilon": self.from_eps, "v_prediction": self.from_v, "sample": self.from_x0}
        return parametrisation[self.prediction_type](x, prediction, t)._replace(variance_fraction=fraction)


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
    elif path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise FileNotFoundError(f"prior {path!r} is neither a folder nor a hub id of the form owner/name")
    else:
        places = [(path, subfolder), (path, None)]
    reason: Exception | None = None
    for place, sub in places:
        try:
            return kind.from_pretrained(place, **({"subfolder": sub} if sub else {}), **options)
        except Exception as error:  # diffusers raises many kinds; every one of them means that the model is unusable
            reason = reason or error
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    raise ValueError(f"cannot load {kind.__name__} from {path!r}: {first_line}") from reason
