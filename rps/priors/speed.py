"""Speed: settings of how a prior computes its network, which change results by rounding only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

MOST_VARIANTS = 64
"""Compiled variants of one block. By default torch compiles 8 and silently runs the rest uncompiled, but a UNet's block
occurs in up to four widths, with and without gradients, for one image and for more."""


@dataclass(frozen=True)
class Speed:
    """How a prior computes its networks. The defaults change nothing; the `dtype` of the weights is separate.

    Attention needs no setting: diffusers computes it by torch's scaled_dot_product_attention in all of our networks.

    Args:
        compile: whether torch compiles the UNet and the decoder: only the repeated blocks if diffusers names them, else
            the whole network. Compiling takes a minute or more at the first call with and without gradients, and for
            one image; the number of images is otherwise dynamic, so chains that join cause no compilation.
        channels_last: whether weights and activations lie in memory as [N, H, W, C].
    """

    compile: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false, got {value!r}")

    def apply(self, network: nn.Module) -> None:
        """Changes a network in place; its weights, their names and its class stay the same."""
        if self.channels_last:
            network.to(memory_format=torch.channels_last)
        if self.compile:
            import torch._dynamo.config as dynamo  # imported here because it takes seconds

            dynamo.cache_size_limit = max(dynamo.cache_size_limit, MOST_VARIANTS)
            repeated = getattr(network, "_repeated_blocks", None) or ()
            blocks = [module for module in network.modules() if type(module).__name__ in repeated]
            for block in blocks or [network]:
                block.compile(dynamic=True)
