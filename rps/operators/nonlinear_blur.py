"""Nonlinear blur by moving objects, as learned by a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Operator
from rps.operators.blur_generator import BlurGenerator
from rps.randomness import Streams


class NonlinearBlur(Operator):
    """A(x) = clip(G(x, code), -1, 1) with the bkse generator G and one fixed random code.  x, y: [N, C, H, W].

    The image is resized to size x size if necessary, blurred and resized back, bilinearly. A grey image is passed as
    three equal channels, and y is their mean. Stage 1 starts from y. Computed in the precision of the weights.

    Args:
        weights: path to the published weights, see BlurGenerator.from_file; or a generator.
        code_seed: seed of the code, which is N(0, code_std^2) of shape 1 x 512 x 2 x 2.
        code_std: standard deviation of the code; 1.2 in DPS, DAPS and MAP-RPS.
        size: height and width of the generator's images, in pixels, a multiple of 128.
        antialias: whether to filter before reducing the size; the published MAP-RPS runs reduced 512 to 256 pixels
            without.
    """

    code: Tensor

    def __init__(
        self,
        weights: str | BlurGenerator,
        code_seed: int = 0,
        code_std: float = 1.2,
        size: int = 256,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        if size < 128 or size % 128:
            raise ValueError(f"size must be a multiple of 128, got {size}")
        generator = weights if isinstance(weights, BlurGenerator) else BlurGenerator.from_file(weights)
        self.generator = generator.requires_grad_(False).eval()
        self.path = weights if isinstance(weights, str) else None
        self.code_seed, self.code_std, self.size, self.antialias = code_seed, code_std, size, antialias
        shape = (8 * generator.features, size // 128, size // 128)
        self.register_buffer("code", code_std * Streams(code_seed, ["code"]).normal(shape), persistent=False)

    @property
    def weights(self) -> str | BlurGenerator:
        """The path of the weights, or the generator that was given."""
        return self.path or self.generator

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> NonlinearBlur:
        if shape[0] not in (1, 3):
            raise ValueError(f"NonlinearBlur needs images of 1 or 3 channels, got {shape[0]}")
        return self

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if not n:
            return x.clone()
        weights = next(self.generator.parameters())
        image = (x.to(weights.dtype).expand(-1, 3, -1, -1) + 1) / 2
        code = self.code.to(image).expand(n, -1, -1, -1)
        blurred = self.generator(self._resized(image, (self.size, self.size)), code)
        y = (2 * self._resized(blurred, (h, w)) - 1).clamp(-1, 1).to(x.dtype)
        return y.mean(1, keepdim=True) if c == 1 else y

    def _resized(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        if image.shape[-2:] == torch.Size(size):
            return image
        return F.interpolate(image, size=size, mode="bilinear", antialias=self.antialias)
