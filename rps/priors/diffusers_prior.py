"""Pixel-space diffusion models in diffusers format: a UNet2DModel and a scheduler config."""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Denoised, Need, Prior
from rps.priors.given import GivenPrior
from rps.priors.parametrisation import Parametrisation
from rps.randomness import Streams

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
        class_label: the class of all images, for a network that is conditioned on one of its num_class_embeds; or
            that sees, as a UNet2DConditionModel, one of encoder_hid_dim classes by cross-attention. None is each
            sample's own class, which the batch must come with.
        image_size: of square images, a multiple of 2^(levels - 1); None is the sample_size of the UNet's config.
    """

    schedule: Parametrisation

    def __init__(
        self, unet: nn.Module, scheduler: Any, class_label: int | None = None, image_size: int | None = None
    ) -> None:
        super().__init__()
        config: Any = unet.config
        _check_conditions(config)
        size = sample_size(config, image_size)
        self.classes = classes = int(config.get("num_class_embeds") or config.get("encoder_hid_dim") or 0)
        if class_label is not None and not classes:
            raise ValueError(f"this network knows no classes; leave out class_label, got {class_label}")
        self.class_label = None if class_label is None else self._known(class_label, "class_label")
        self.needs = Need("label", "class_label") if classes and class_label is None else None
        channels, out_channels = config.in_channels, config.out_channels
        if out_channels not in (channels, 2 * channels):
            raise ValueError(
                f"a UNet of {channels} input channels needs {channels} or {2 * channels} outputs, got {out_channels}"
            )
        self.schedule = Parametrisation.of_scheduler(scheduler)
        self.sample_shape = (channels, size, size)
        self.unet = unet.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
        class_label: int | None = None,
        image_size: int | None = None,
    ) -> DiffusersPrior:
        """The model in a folder or under a hub id (e.g. google/ddpm-celebahq-256).

        Args:
            path: a folder as a pipeline's save_pretrained writes it (unet/ and scheduler/), or with config.json and
                scheduler_config.json side by side; or the id of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: never ask the hub.
            class_label: the class of all images, for class-conditional models; None is each sample's own.
            image_size: of square images; None is the sample_size of the UNet's config.
        """
        from diffusers import UNet2DModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = _load_network(UNet2DModel, path, "unet", dtype, **options)
        return cls(unet, _load(_Scheduler, path, "scheduler", **options), class_label, image_size)

    def given(self, measurement: Measurement) -> Prior:
        return GivenPrior(self, measurement) if self.needs else self

    def condition(self, measurement: Measurement) -> Any:
        """The condition of each row: its class, [N]; None where it is the same for all.

        Errors: ValueError for a row without a class, or with one that the network does not know.
        """
        if self.needs is None:
            return None
        labels = [self._known(label, self.needs.name) for label in self._own(measurement, self.needs)]
        return torch.tensor(labels, dtype=torch.int64, device=measurement.y.device)

    def denoise(self, x: Tensor, t: Tensor, condition: Any = None) -> Denoised:
        """E[x_0 | x_t] from the network's prediction.  x: [N, *sample_shape], t: [N]. condition: of these rows."""
        if condition is None and self.needs:
            raise ValueError(_lacks_condition(self.needs))
        return self._understood(x, t, lambda scaled, time: self.predict(scaled, time, condition))

    def encode(self, image: Tensor, streams: Streams | None = None) -> Tensor:
        """Image [N, C, H, W] in [-1, 1] -> sample [N, *sample_shape].  streams: of the rows, where encoding draws."""
        return image

    def predict(self, x: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        """The network's output, in its own precision.  x: [N, *sample_shape], time: [N]. condition: see `condition`."""
        unet: Any = self.unet
        if not self.classes:
            return unet(x, time).sample
        label: Any = self.class_label
        labels = torch.full_like(time, label, dtype=torch.int64) if condition is None else condition
        if unet.config.get("num_class_embeds"):
            return unet(x, time, class_labels=labels).sample
        one = torch.nn.functional.one_hot(labels, self.classes).to(x.dtype)
        return unet(x, time, encoder_hidden_states=one[:, None]).sample

    def _own(self, measurement: Measurement, need: Need) -> Sequence[Any]:
        """What each row comes with."""
        values = measurement.conditions.get(need.name, ())
        if len(values) != len(measurement):
            raise ValueError(_lacks_condition(need))
        return values

    def _known(self, label: Any, name: str) -> int:
        """A class as an integer.  Errors: ValueError where it is none of the network's."""
        try:
            known = operator.index(label)
        except TypeError:
            known = -1
        if not 0 <= known < self.classes:
            raise ValueError(
                f"this network knows {self.classes} classes; {name} must be 0 .. {self.classes - 1}, got {label!r}"
            )
        return known

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

    map_timestep = 100  # of 10 .. 200, the best over the embedded tasks (docs/embedded.md)

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


LARGEST = 16384
"""Height and width of images, in pixels: a config of strangers may not ask for terabytes."""
MOST_TIMESTEPS = 1_000_000
MOST_LAYERS = 1000
HARMLESS = 100_000_000  # parameters, for which there is memory: reading the weights says what is wrong with them


def sample_size(config: Any, image_size: int | None = None, stride: int = 1) -> int:
    """Height and width of a UNet's samples: image_size / stride where it is given, or as the UNet's config says.

    stride: of the autoencoder, in pixels. Errors: ValueError where the config has no single number, or where the UNet
    cannot halve the samples as often as its levels do.
    """
    factor = 2 ** (len(config.get("block_out_channels") or (0,)) - 1)
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
        raise ValueError(f"the UNet's config has sample_size {given}, expected one number: give image_size")
    (size,) = sizes
    if not isinstance(size, int) or not 1 <= size <= LARGEST // stride or size % factor:
        raise ValueError(
            f"the UNet's config has sample_size {size}, expected a multiple of {factor} for its levels: give "
            f"image_size, a multiple of {stride * factor} and at most {LARGEST}"
        )
    return size


CONDITIONS: dict[str, tuple[str | None, ...]] = {
    "class_embed_type": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text_time"),
}
"""Kinds of conditions in the config of a UNet, and those that are supported: classes by a table, and texts."""


def _check_conditions(config: Any) -> None:
    """Errors: ValueError where the network has a condition that no prior here can give."""
    for name, supported in CONDITIONS.items():
        if (kind := config.get(name)) not in supported:
            raise ValueError(
                f"the UNet's config has {name} {kind!r}, which is not supported; take a network that is unconditional, "
                "or conditioned on classes by a table (num_class_embeds, class_embed_type null) or on texts"
            )


class _Scheduler:
    """Loads a scheduler as the class that its config names."""

    config_name, what = "scheduler_config.json", "a scheduler"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> Any:
        import diffusers

        config = diffusers.DDPMScheduler.load_config(place, **options)
        name = config.get("_class_name", "DDPMScheduler")
        kind: Any = getattr(diffusers, str(name), None)
        known = isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)
        if not known:
            raise ValueError(f"its scheduler config names {name!r}, which is not a scheduler of diffusers")
        number = config.get("num_train_timesteps", 1000)
        if not isinstance(number, int) or not 1 <= number <= MOST_TIMESTEPS:
            raise ValueError(
                f"its scheduler config has num_train_timesteps {number!r}, expected an integer between 1 and "
                f"{MOST_TIMESTEPS:,}"
            )
        return kind.from_config(config)


def _lacks_condition(need: Need) -> str:
    return (
        f"this prior is conditioned on the {need.name} of each sample: use prior.given(measurement) with a "
        f"measurement that has one for each in its conditions, or give a {need.instead} for all"
    )


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
        raise FileNotFoundError(
            f"prior {path!r} is a file; a .pt file goes to rps.priors.GuidedDiffusionPrior, "
            "tools/convert_checkpoint.py makes a folder of a .ckpt of latent diffusion, and diffusers' "
            "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER) one of Stable Diffusion"
        )
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
    raise ValueError(f"cannot load {getattr(kind, 'what', kind.__name__)} from {path!r}: {first_line}") from reason


def _chain_names(error: BaseException | None) -> set[str]:
    """The classes of an error and of all that led to it."""
    names = set()
    while error is not None:
        names.add(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names


def _load_network(kind: Any, path: str, subfolder: str, dtype: str, **options: Any) -> Any:
    """`_load` of a network of diffusers, whose config may not ask for more than the weights in its folder can be."""
    found = [place for place in (Path(path, subfolder), Path(path)) if (place / "config.json").is_file()]
    if found:
        _check_parameters(kind, found[0])
    return _load_complete(kind, path, subfolder, torch_dtype=_dtype(dtype), low_cpu_mem_usage=False, **options)


def _check_parameters(kind: Any, folder: Path) -> None:
    """Before any memory is taken: are there as many numbers in the weight files as the config asks for?

    Errors: ValueError where there are not, at a quarter of a byte each.
    """
    sizes = [file.stat().st_size for end in ("safetensors", "bin") for file in folder.glob(f"*.{end}")]
    try:
        with _silent_diffusers(), torch.device("meta"):
            config = kind.load_config(folder)
            deep = {name: value for name, value in config.items() if "layers" in name and _largest(value) > MOST_LAYERS}
            number = 0 if deep else sum(weight.numel() for weight in kind.from_config(config).parameters())
    except Exception:  # `_load` says what is wrong with it
        return
    for name, value in deep.items():
        raise ValueError(f"{folder / 'config.json'} has {name} {value}, expected at most {MOST_LAYERS}; correct it")
    if sizes and number > max(HARMLESS, 4 * sum(sizes)):
        raise ValueError(
            f"{folder / 'config.json'} asks for a network of {number:,} parameters, but the weights beside it are "
            f"{sum(sizes):,} bytes; download both again"
        )


def _largest(value: Any) -> int:
    """Of the integers in a value of a config, at any depth; 0 where there are none."""
    return max(map(_largest, value), default=0) if isinstance(value, list) else value if isinstance(value, int) else 0


def _load_complete(kind: Any, path: str, subfolder: str, **options: Any) -> Any:
    """`_load` of a network that must have all its tensors; half-precision files are read where there are no others."""
    options = {"output_loading_info": True, **options}
    try:
        network, loaded = _load(kind, path, subfolder, **_variant(path, subfolder), **options)
    except (OSError, ValueError) as error:
        if Path(path).exists() or not _lacks_file(error):
            raise
        try:  # a repository on the hub, whose files are not known beforehand
            network, loaded = _load(kind, path, subfolder, variant="fp16", **options)
        except (OSError, ValueError):
            raise error from None
    if loaded["missing_keys"]:  # diffusers and transformers would fill them with random numbers
        missing = sorted(loaded["missing_keys"])
        raise ValueError(
            f"{path!r} lacks {len(missing)} of the tensors of its {subfolder}, e.g. {missing[0]}; download it again"
        )
    return network


def _variant(path: str, subfolder: str) -> dict[str, str]:
    """The option that reads a folder whose only weights are *.fp16.* or *.bf16.*, whole or in shards."""
    places = [place for place in (Path(path, subfolder), Path(path)) if (place / "config.json").is_file()]
    names = [file.name for file in places[0].iterdir()] if places else []
    whole = re.compile(r"(diffusion_pytorch_|pytorch_)?model(-\d+-of-\d+)?\.(safetensors|bin)")
    if any(whole.fullmatch(name) for name in names):
        return {}
    halves = [half for half in ("fp16", "bf16") if any(re.search(rf"\.{half}[.-]", name) for name in names)]
    return {"variant": halves[0]} if halves else {}


def _lacks_file(error: Exception) -> bool:
    """Whether an error of diffusers or transformers says that a repository lacks the file, or the cache does."""
    missing = any(name.endswith("EntryNotFoundError") for name in _chain_names(error))
    return missing or "does not appear to have a file named" in str(error)


@contextmanager
def _silent_diffusers() -> Iterator[None]:
    """Without its log, since what it warns of is an error here, and without its progress bar for shards."""
    from diffusers.utils import logging as bars

    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        bars.enable_progress_bar()
