"""The Inception network of FID (arXiv 1706.08500): the 2015 TensorFlow weights, 2048 pooled features."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from rps.metrics.features import FeatureNetwork, with_channels
from rps.metrics.hashes import check_file

SIZE = 299


class InceptionFeatures(FeatureNetwork):
    """2048 pooled features of FID's Inception, on 8-bit images resized to 299 x 299 as in TensorFlow 1.

    The values equal those of torch-fidelity, and those of pytorch-fid up to the resize. There is no antialiasing: that
    is part of the definition of FID.

    Args:
        weights: a TorchScript file of the network (input (x - 128) / 128 at 299 x 299, output [N, 2048]), which needs
            no other package; or torch-fidelity's state dict; None lets torch-fidelity download it at first use. The
            last two need torch-fidelity: pip install 'map-rps[fid]'.
        sha256: hash of that file; None checks the digits in its name, if there are any.
    """

    name = "FID Inception"
    dim = 2048

    def __init__(self, weights: str | None = None, sha256: str | None = None) -> None:
        super().__init__()
        if weights is not None:
            check_file(weights, "FID's Inception", sha256)
        script = None if weights is None else _script(weights)
        self.network: Any = script if script is not None else _torch_fidelity(weights)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        pixels = with_channels(images.float(), 3, self.name).mul(255).round()
        features = self.network((resize(pixels, SIZE) - 128) / 128)
        return features.flatten(1)


def resize(x: Tensor, size: int) -> Tensor:
    """Resizes bilinearly, output pixel i at input position i * (input size / size): TensorFlow 1's resize_bilinear.

    x: [N, C, H, W] -> [N, C, size, size]. Without the half-pixel centres and antialiasing of current libraries.
    """
    vertical, horizontal = (_interpolation(n, size).to(x) for n in x.shape[2:])
    return vertical @ x @ horizontal.mT


def _interpolation(n: int, size: int) -> Tensor:
    """The matrix [size, n] of a linear interpolation."""
    position = torch.arange(size, dtype=torch.float64) * (n / size)
    below = position.floor().long().clamp(max=n - 1)
    above = (below + 1).clamp(max=n - 1)
    weight = (position - below).unsqueeze(1)
    one = torch.eye(n, dtype=torch.float64)
    return (1 - weight) * one[below] + weight * one[above]


def _script(weights: str) -> Any:
    """The TorchScript module in a file, or None if it is something else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.export cannot read existing files
            return torch.jit.load(weights, map_location="cpu")
    except RuntimeError:
        return None


def _torch_fidelity(weights: str | None) -> nn.Module:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        given = "without weights" if weights is None else f"with {weights}, which is not a TorchScript file,"
        raise ImportError(
            f"InceptionFeatures {given} needs torch-fidelity: pip install 'map-rps[fid]'; or give a TorchScript file"
        ) from error
    try:
        return _Pooled(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], weights))
    except OSError as error:
        raise OSError(
            f"the weights of FID's Inception cannot be fetched ({error}); give a local copy of torch-fidelity's file "
            "(weights), or choose another feature network"
        ) from error


class _Pooled(nn.Module):
    """torch-fidelity's layers up to the pooling, on inputs that are already resized and scaled."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        names = (
            "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1 Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2 Mixed_5b "
            "Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c AvgPool"
        )
        self.layers = nn.Sequential(*(getattr(extractor, name) for name in names.split()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
