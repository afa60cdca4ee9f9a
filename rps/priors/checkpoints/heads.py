"""The attention heads of a checkpoint, which the shapes of its tensors do not reveal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rps.priors.checkpoints.torch_files import Unfit


@dataclass(frozen=True)
class Heads:
    """The `channels` of every head (num_head_channels) or the `number` of heads of every layer (num_heads)."""

    channels: int | None = None
    number: int | None = None

    def width(self, channels: int) -> int:
        """Channels per head of a layer with this many channels.  Errors: Unfit."""
        option, value = ("num_heads", self.number) if self.channels is None else ("head_channels", self.channels)
        if value is None or value < 1 or channels % value:
            raise Unfit(f"{option} must divide the {channels} channels of the attention layers, got {value}")
        return channels // value if self.channels is None else value


@dataclass(frozen=True)
class Shape:
    """The features that distinguish published networks: channels of the levels, num_res_blocks, resblock_updown, and
    whether attention is part of a transformer."""

    channels: tuple[int, ...]
    layers: int
    updown: bool
    transformer: bool = False


PUBLISHED = {
    Shape((128, 128, 256, 256, 512, 512), 1, True): Heads(64),  # ffhq_10m.pt of DPS
    Shape((192, 384, 576, 768), 3, True): Heads(64),  # 64x64_diffusion.pt
    Shape((256, 256, 512, 768, 1024), 2, True): Heads(number=4),  # 128x128_diffusion.pt
    Shape((256, 256, 512, 512, 1024, 1024), 2, True): Heads(64),  # 256x256_diffusion*.pt, lsun_*.pt
    Shape((128, 256, 256, 512, 512, 1024, 1024), 2, True): Heads(64),  # 512x512_diffusion.pt
    Shape((224, 448, 672, 896), 2, False): Heads(32),  # latent diffusion: ffhq256, celeba256, lsun_beds256
    Shape((192, 384, 576, 960), 2, False, True): Heads(number=1),  # latent diffusion: cin256-v2
    Shape((256, 512, 1024), 2, False, True): Heads(32),  # latent diffusion: cin256
}
"""Training flags from the README of guided-diffusion and the config.yaml files of latent-diffusion."""


def heads_of(shape: Shape, head_channels: int | None = None, num_heads: int | None = None) -> Heads:
    """The given heads, or else the published heads of this shape.

    Errors: Unfit if both are given, or neither for a shape that was not published.
    """
    if head_channels is not None and num_heads is not None:
        raise Unfit(f"head_channels and num_heads exclude each other, got {head_channels} and {num_heads}")
    if head_channels is not None or num_heads is not None:
        return Heads(head_channels, num_heads)
    if shape not in PUBLISHED:
        raise Unfit(
            "its tensors do not reveal the attention heads, and its shape is not a published one; give head_channels "
            "(num_head_channels in training) or num_heads"
        )
    return PUBLISHED[shape]


def widths(heads: Heads, channels: Iterable[int]) -> list[int]:
    """Channels per head of each layer, given the layers' channels.  Errors: Unfit."""
    return [heads.width(c) for c in channels]
