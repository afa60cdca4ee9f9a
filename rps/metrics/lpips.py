"""LPIPS: a learned distance between two images (Zhang et al., arXiv 1801.03924, version 0.1)."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rps.metrics.base import Metric, in_batches, in_colour
from rps.metrics.hashes import check_file

Net = Literal["vgg", "alex"]
BACKBONES = {"vgg": "vgg16", "alex": "alexnet"}


class Lpips(Metric):
    """sum over layers of the mean over pixels of w^T (f - f')^2, f the unit-length features of a layer.

    Computed by the `lpips` package, which ships w. The backbone is torchvision's, downloaded by torchvision at first
    use (then cached), or read from a file.

    Args:
        net: "vgg" or "alex"; values of different nets are not comparable.
        weights: a file with torchvision's state dict of vgg16 or alexnet, .pth or .safetensors; None downloads it.
        batch_size: pairs of images in one pass.
        sha256: hash of that file; None checks the digits in its name, if there are any.
    """

    name, title, better = "lpips", "LPIPS", "lower"

    def __init__(
        self, net: Net = "vgg", weights: str | Path | None = None, batch_size: int = 16, sha256: str | None = None
    ) -> None:
        super().__init__()
        if net not in ("vgg", "alex"):
            raise ValueError(f"net must be vgg or alex, got {net!r}")
        import lpips

        state = _fetched(net) if weights is None else _read(Path(weights), sha256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the package calls torchvision in a deprecated way
            self.distance = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
        # "slice2.5.weight" of the package is "features.5.weight" of torchvision.
        own = self.distance.net.state_dict()
        names = {name: "features." + name.split(".", 1)[1] for name in own}
        missing = sorted(set(names.values()) - set(state))
        if missing:
            raise ValueError(
                f"{weights} is not torchvision's state dict of {BACKBONES[net]}: it has no {missing[0]!r}; give "
                "torchvision's file"
            )
        self.distance.net.load_state_dict({name: state[theirs] for name, theirs in names.items()})
        self.requires_grad_(False).eval()
        self.net, self.batch_size = net, batch_size
        self.definition = f"arXiv 1801.03924, version 0.1, {net}"

    @torch.no_grad()
    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        """restored, reference: [N, 1 or 3, H, W] in [0, 1] -> [N]. Grey images are repeated to three channels."""
        pairs = in_colour(restored, self), in_colour(reference, self)
        return in_batches(partial(self.distance, normalize=True), self.batch_size, *pairs)


def _fetched(net: Net) -> dict[str, Tensor]:
    import torchvision

    weights = torchvision.models.get_model_weights(BACKBONES[net]).IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:  # includes every failure of urllib
        raise OSError(
            f"LPIPS needs torchvision's weights of {BACKBONES[net]}, and {weights.url} cannot be fetched ({error}); "
            "give a local copy of that file (weights), or leave LPIPS out of the metrics"
        ) from error


def _read(path: Path, sha256: str | None) -> dict[str, Tensor]:
    check_file(path, "LPIPS's backbone", sha256)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
