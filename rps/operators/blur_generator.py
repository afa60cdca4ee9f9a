"""The blurring network of "Explore Image Deblurring via Encoded Blur Kernel Space", known as the bkse generator.

Tran, Tran, Phung and Hoai, CVPR 2021, arXiv 2104.00317. The published weights (GOPRO_wVAE.pth) are a flat state dict
with the names and shapes below; its kernel_extractor part, which finds the code of a blur, is not needed here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + conv2(relu(conv1(x))), 3 x 3."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


class Level(nn.Module):
    """One level of the U-Net: halve, apply the inner level (the innermost appends the code), double, concatenate x.

    As in the U-Net of pix2pix (arXiv 1611.07004), whose activations work in place, x is concatenated after activation.
    `down` and `up` hold the layers in the order of the published names; only the last convolution has a bias.
    """

    def __init__(self, outer: int, inner: int, inside: Level | None, outermost: bool = False) -> None:
        super().__init__()
        self.outermost, self.innermost = outermost, inside is None
        convolution = nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)
        self.down = nn.Sequential(convolution) if outermost else nn.Sequential(nn.LeakyReLU(0.2), convolution)
        if inside is not None:
            self.submodule = inside
        doubled = nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1, bias=outermost)
        self.up = nn.Sequential(nn.ReLU(), doubled, *([nn.Tanh()] if outermost else []))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        *activation, convolution = self.down
        for layer in activation:
            x = layer(x)
        below = convolution(x)
        below = torch.cat([below, code], 1) if self.innermost else self.submodule(below, code)
        above = self.up(below)
        return above if self.outermost else torch.cat([above, x], 1)


class BlurGenerator(nn.Module):
    """x + r(g(f(x), code)): f halves the image twice, g is a U-Net of five levels that takes the code, r doubles twice.

    x: [N, 3, H, W] in [0, 1], H and W multiples of 128 -> the same shape. code: [N, 8 features, H / 128, W / 128].

    Args:
        features: number of channels of f; published 64.
        front: number of residual blocks of f; published 10.
        back: number of residual blocks of r; published 20.
    """

    def __init__(self, features: int = 64, front: int = 10, back: int = 20) -> None:
        super().__init__()
        self.features, leaky = features, nn.LeakyReLU(0.1)

        def convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)

        self.feature_extractor = nn.Sequential(
            *(convolution(3, features), leaky, convolution(features, features, 2), leaky),
            *(convolution(features, features, 2), leaky),
            *(Residual(features) for _ in range(front)),
        )
        level = Level(8 * features, 8 * features, None)
        for outer, inner in ((4, 8), (2, 4), (1, 2)):
            level = Level(outer * features, inner * features, level)
        self.adapter = nn.ModuleDict({"model": Level(features, features, level, outermost=True)})
        self.recon_trunk = nn.Sequential(
            *(Residual(features) for _ in range(back)),
            *(convolution(features, 4 * features), nn.PixelShuffle(2), leaky),
            *(convolution(features, 4 * features), nn.PixelShuffle(2), leaky),
            *(convolution(features, features), leaky, convolution(features, 3)),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return x + self.recon_trunk(self.adapter["model"](self.feature_extractor(x), code))

    @classmethod
    def from_file(cls, path: str | Path) -> BlurGenerator:
        """The generator with the weights of a local file, whose shapes determine its sizes."""
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"there is no file {path}; download the weights of the bkse generator (GOPRO_wVAE.pth, linked from the "
                "model zoo of github.com/VinAIResearch/blur-kernel-space-exploring) and give the path to them"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        parts = ("feature_extractor", "recon_trunk")
        state = {key: value for key, value in state.items() if not key.startswith("kernel_extractor.")}
        blocks = {part: sum(key.startswith(part) and key.endswith(".conv1.weight") for key in state) for part in parts}
        try:
            generator = cls(len(state["feature_extractor.0.weight"]), *blocks.values())
            generator.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{path} does not contain the weights of the bkse generator: {error}") from error
        return generator
