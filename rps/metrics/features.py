"""Feature networks for Frechet distances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import rps
from rps.metrics.frechet import Statistics
from rps.metrics.hashes import file_hash

EMBEDDED_CLASSIFIER = Path(rps.__file__).parent / "assets" / "embedded" / "classifier"


class FeatureNetwork(nn.Module):
    """A network from images to feature vectors. Subclasses set name and dim and define `forward`.

    name: name of the features in reports. dim: D.
    """

    name: str
    dim: int

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, C, H, W] in [0, 1], as saved -> [N, D]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(images)")


class TimmFeatures(FeatureNetwork):
    """Pooled features of a timm model on images normalised as the model expects.

    Images whose size differs from the model's are resized first (bicubic, antialiased); grey images are repeated to
    three channels if the model takes three.

    Args:
        model: a folder with config.json and model.safetensors, as tools/train_classifier.py writes it; or the name of a
            timm model, e.g. "vit_small_patch14_dinov2.lvd142m", whose weights timm downloads at first use.
        stage: which feature map of timm's forward_intermediates is averaged over its pixels, 0 the earliest. Early maps
            represent texture, late ones content. None uses the stage in the folder's config.json, else the features
            before the classifier.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, stage: int | None = None) -> None:
        super().__init__()
        folder = Path(model)
        if (folder / "config.json").is_file():
            self.network, settings = _from_folder(folder)
            self.name = f"{settings['name']} ({folder.name})"
        elif folder.is_absolute() or model.startswith(".") or folder.is_dir():
            raise FileNotFoundError(
                f"{model} is not a feature network; give a folder with config.json and model.safetensors"
            )
        else:
            self.network, settings = _from_timm(model)
            self.name = model
        self.stage = settings.get("stage") if stage is None else stage
        if self.stage is not None:
            if not hasattr(self.network, "forward_intermediates"):
                raise ValueError(f"the timm model {self.name} has no feature maps by stage; leave stage out")
            stages = len(self.network.feature_info)
            if not 0 <= self.stage < stages:
                raise ValueError(f"the timm model {self.name} has stages 0 to {stages - 1}, got stage={self.stage}")
            self.name = f"{self.name}, stage {self.stage}"
        self.channels, *size = settings["input_size"]
        self.size = tuple(size)
        self.register_buffer("mean", torch.tensor(settings["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(settings["std"]).view(1, -1, 1, 1), persistent=False)
        self.requires_grad_(False).eval()
        with torch.no_grad():
            self.dim = self(torch.zeros(1, *settings["input_size"])).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        x = with_channels(images.float(), self.channels, self.name)
        if tuple(x.shape[2:]) != self.size:
            x = functional.interpolate(x, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        x = (x - self.mean) / self.std
        if self.stage is not None:
            maps = self.network.forward_intermediates(x, indices=[self.stage], intermediates_only=True)
            return maps[0].mean((2, 3))
        return self.network.forward_head(self.network.forward_features(x), pre_logits=True)


class EmbeddedFeatures(TimmFeatures):
    """An early stage of the Fashion-MNIST classifier that ships with the package: 32 features of 1 x 32 x 32 images.

    Of all stages, this one distinguishes 64 damaged images best from 64 clean ones (docs/embedded.md).
    """

    reference = EMBEDDED_CLASSIFIER / "reference.safetensors"
    """Statistics of Fashion-MNIST test images that do not ship with the package."""

    def __init__(self) -> None:
        super().__init__(str(EMBEDDED_CLASSIFIER))
        self.name = "embedded Fashion-MNIST classifier"


def with_channels(images: Tensor, channels: int, name: str) -> Tensor:
    """Grey images repeated to `channels`; any other mismatch is an error."""
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    raise ValueError(
        f"the images have {images.shape[1]} channels but the feature network {name} takes {channels}; choose another "
        "feature network, or none (features: null)"
    )


def _from_folder(folder: Path) -> tuple[Any, dict[str, Any]]:
    import timm
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    network = timm.create_model(**config["model"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    settings = {
        **config["normalisation"],
        "input_size": config["input_size"],
        "name": config["model"]["model_name"],
        "stage": config.get("stage"),
    }
    return network.float(), settings


def _from_timm(name: str) -> tuple[Any, dict[str, Any]]:
    import timm

    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:5]
        raise ValueError(
            f"{name!r} is neither a folder with config.json nor a timm model"
            + (f"; similar models: {near}" if near else "")
        )
    try:
        network = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"the weights of the timm model {name!r} cannot be fetched ({' '.join(str(error).split())[:200]}); fetch "
            "them once on a machine with a network, or choose another feature network"
        ) from error
    return network, timm.data.resolve_model_data_config(network)


def load_reference(reference: str, sha256: str | None = None) -> Statistics:
    """The reference set of Frechet distances: "embedded", or a file that Statistics.save wrote.

    sha256: hash of the file that a run was recorded with. Errors: ValueError if it differs.
    """
    if sha256 is not None and Path(reference).is_file() and file_hash(reference) != sha256:
        raise ValueError(f"the reference set {reference} is not the one that the run was recorded with; restore it")
    return Statistics.load(EmbeddedFeatures.reference if reference == "embedded" else reference)
