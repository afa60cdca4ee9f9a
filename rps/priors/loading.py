"""Loads networks and schedulers from folders and repositories in diffusers format, with one-sentence errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

EMBEDDED = Path(__file__).parent.parent / "assets" / "embedded"
MOST_TIMESTEPS = 1_000_000
MOST_LAYERS = 1000
HARMLESS = 100_000_000  # parameters that fit into memory anyway, where reading the weights reports what is wrong


class SchedulerLoader:
    """Loads a scheduler as the class named in its config."""

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


def dtype_of(name: str) -> torch.dtype:
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in dtypes:
        raise ValueError(f"dtype must be one of {', '.join(dtypes)}, got {name!r}")
    return dtypes[name]


def load(kind: Any, path: str, subfolder: str, **options: Any) -> Any:
    """kind.from_pretrained of path/subfolder, or of path itself if it has no subfolders; errors in one sentence."""
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
            f"prior {path!r} is a file, expected a folder or a hub id; use rps.priors.GuidedDiffusionPrior for a .pt, "
            "convert a .ckpt of latent diffusion with tools/convert_checkpoint.py, and one of Stable Diffusion with "
            "diffusers' StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
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
        except Exception as error:  # diffusers raises many exceptions, all of which mean that the model is unusable
            reason = reason or error
            if _chain_names(error) & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
                raise OSError(
                    f"{path} is not in the local cache, and the Hugging Face hub could not be reached; download it "
                    "once on a machine with network access, or give the folder of a model"
                ) from error
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    if "UnpicklingError" in _chain_names(reason):
        first_line = "its weights contain more than tensors, which could run code and is refused"
    raise ValueError(f"cannot load {getattr(kind, 'what', kind.__name__)} from {path!r}: {first_line}") from reason


def _chain_names(error: BaseException | None) -> set[str]:
    """The class names of an error and of all its causes."""
    names = set()
    while error is not None:
        names.add(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names


def load_network(kind: Any, path: str, subfolder: str, dtype: str, **options: Any) -> Any:
    """`load` for a network of diffusers, after a check that its config does not ask for more than its weights."""
    found = [place for place in (Path(path, subfolder), Path(path)) if (place / "config.json").is_file()]
    if found:
        _check_parameters(kind, found[0])
    return load_complete(kind, path, subfolder, torch_dtype=dtype_of(dtype), low_cpu_mem_usage=False, **options)


def _check_parameters(kind: Any, folder: Path) -> None:
    """Checks, before memory is allocated, that the weight files can hold the parameters that the config asks for.

    Errors: ValueError if the files have less than a quarter of a byte per parameter.
    """
    sizes = [file.stat().st_size for end in ("safetensors", "bin") for file in folder.glob(f"*.{end}")]
    try:
        with _silent_diffusers(), torch.device("meta"):
            config = kind.load_config(folder)
            deep = {name: value for name, value in config.items() if "layers" in name and _largest(value) > MOST_LAYERS}
            number = 0 if deep else sum(weight.numel() for weight in kind.from_config(config).parameters())
    except Exception:  # `load` reports what is wrong with it
        return
    for name, value in deep.items():
        raise ValueError(f"{folder / 'config.json'} has {name} {value}, expected at most {MOST_LAYERS}; correct it")
    if sizes and number > max(HARMLESS, 4 * sum(sizes)):
        raise ValueError(
            f"{folder / 'config.json'} asks for a network of {number:,} parameters, but its weights are "
            f"{sum(sizes):,} bytes; download both again"
        )


def _largest(value: Any) -> int:
    """The largest integer in a value of a config, at any depth; 0 if there is none."""
    return max(map(_largest, value), default=0) if isinstance(value, list) else value if isinstance(value, int) else 0


def load_complete(kind: Any, path: str, subfolder: str, **options: Any) -> Any:
    """`load` for a network that must have all its tensors; reads half-precision files if there are no others."""
    options = {"output_loading_info": True, **options}
    try:
        network, loaded = load(kind, path, subfolder, **_variant(path, subfolder), **options)
    except (OSError, ValueError) as error:
        if Path(path).exists() or not _lacks_file(error):
            raise
        try:  # a repository on the hub, whose files are not known in advance
            network, loaded = load(kind, path, subfolder, variant="fp16", **options)
        except (OSError, ValueError):
            raise error from None
    if loaded["missing_keys"]:  # diffusers and transformers would fill them with random numbers
        missing = sorted(loaded["missing_keys"])
        raise ValueError(
            f"{path!r} lacks {len(missing)} of the tensors of its {subfolder}, e.g. {missing[0]}; download it again"
        )
    return network


def _variant(path: str, subfolder: str) -> dict[str, str]:
    """The `variant` option for a folder whose only weights are *.fp16.* or *.bf16.*, whole or in shards."""
    places = [place for place in (Path(path, subfolder), Path(path)) if (place / "config.json").is_file()]
    names = [file.name for file in places[0].iterdir()] if places else []
    whole = re.compile(r"(diffusion_pytorch_|pytorch_)?model(-\d+-of-\d+)?\.(safetensors|bin)")
    if any(whole.fullmatch(name) for name in names):
        return {}
    halves = [half for half in ("fp16", "bf16") if any(re.search(rf"\.{half}[.-]", name) for name in names)]
    return {"variant": halves[0]} if halves else {}


def _lacks_file(error: Exception) -> bool:
    """Whether an error of diffusers or transformers means that the file is missing in a repository or the cache."""
    missing = any(name.endswith("EntryNotFoundError") for name in _chain_names(error))
    return missing or "does not appear to have a file named" in str(error)


@contextmanager
def _silent_diffusers() -> Iterator[None]:
    """Silences the log of diffusers, whose warnings are errors here, and its progress bar for shards."""
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
