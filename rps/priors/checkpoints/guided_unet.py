"""Converts the UNet of guided-diffusion (arXiv 2105.05233), which latent diffusion (2112.10752) shares, to diffusers:
infers its architecture from the shapes of its tensors and translates their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rps.priors.checkpoints.heads import Heads, Shape, heads_of, widths
from rps.priors.checkpoints.torch_files import State, Unfit

AttentionOrder = Literal["legacy", "new"]


@dataclass(frozen=True)
class Architecture:
    """The training flags, inferred from the shapes of the tensors.

    channels: channels of each level. layers: num_res_blocks. attended: whether each level has attention. updown:
    resblock_updown. time_channels: num_channels. context: channels of the cross-attention input, None without
    transformers.
    """

    in_channels: int
    learned_variance: bool
    channels: list[int]
    layers: int
    attended: list[bool]
    updown: bool
    scale_shift: bool
    time_channels: int
    classes: int | None
    context: int | None
    heads: Heads
    image_size: int

    @classmethod
    def of(
        cls,
        state: State,
        head_channels: int | None = None,
        num_heads: int | None = None,
        image_size: int | None = None,
        channels_allowed: Sequence[int] = (1, 3),
    ) -> Architecture:
        """The architecture of a state dict.  Errors: Unfit."""

        def size(name: str, axis: int = 0) -> int:
            if name not in state or state[name].ndim <= axis:
                raise Unfit(f"it has no {name} of the expected shape among its {len(state)} tensors")
            return state[name].shape[axis]

        in_channels, out_channels = size("input_blocks.0.0.weight", 1), size("out.2.weight")
        if in_channels not in channels_allowed or out_channels not in (in_channels, 2 * in_channels):
            allowed = " or ".join(str(c) for c in channels_allowed)
            raise Unfit(
                f"it maps {in_channels} channels to {out_channels}, but a prior maps {allowed} to as many or twice as "
                "many (upsamplers, which take a second image, are not priors)"
            )
        # An output block with a second convolution ends a level.
        ups = [re.fullmatch(r"output_blocks\.(\d+)\.[12]\.(in_layers\.2|conv)\.weight", name) for name in state]
        ends = sorted((int(match[1]), match[2]) for match in ups if match)
        levels, layers = len(ends) + 1, ends[0][0] if ends else 0
        if layers < 1 or [end for end, _ in ends] != [layers + k * (layers + 1) for k in range(levels - 1)]:
            raise Unfit("its output_blocks do not form equally deep levels; it is incomplete or of another type")
        firsts = [1 + level * (layers + 1) for level in range(levels)]
        channels = [size(f"input_blocks.{first}.0.out_layers.3.weight") for first in firsts]
        attended = [f"input_blocks.{first}.1.norm.weight" in state for first in firsts]
        updown, transformer = ends[0][1] != "conv", "middle_block.1.proj_in.weight" in state
        if odd := [c for c in channels if c % 32]:
            raise Unfit(f"it has a level of {odd[0]} channels, expected a multiple of 32")
        heads = heads_of(Shape(tuple(channels), layers, updown, transformer), head_channels, num_heads)
        if image_size is not None and (image_size < 1 or image_size % 2 ** (levels - 1)):
            raise Unfit(
                f"image_size must be a multiple of {2 ** (levels - 1)} for its {levels} levels, got {image_size}"
            )
        found = cls(
            in_channels,
            out_channels == 2 * in_channels,
            channels,
            layers,
            attended,
            updown,
            scale_shift=size("input_blocks.1.0.emb_layers.1.weight") == 2 * channels[0],
            time_channels=size("time_embed.0.weight", 1),
            classes=size("label_emb.weight") if "label_emb.weight" in state else None,
            context=size("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1) if transformer else None,
            heads=heads,
            image_size=image_size or 8 * 2 ** (levels - 1),
        )
        found.widths()  # raises errors
        return found

    def widths(self) -> list[int]:
        """Channels per head of each layer with attention."""
        attending = [c for c, a in zip(self.channels, self.attended, strict=True) if a] + self.channels[-1:]
        return widths(self.heads, attending)

    def unsupported_feature(self) -> str | None:
        """The feature that the config of a diffusers UNet cannot express, if any; such a network cannot be saved."""
        if self.time_channels != self.channels[0]:
            return f"a time embedding of {self.time_channels} channels before a first level of {self.channels[0]}"
        if self.context is None and len(set(self.widths())) > 1:
            return f"{self.heads.number} heads at levels of different channels"
        return None

    def config(self) -> dict[str, Any]:
        """Arguments of a UNet2DModel."""
        plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if self.updown else ("DownBlock2D", "UpBlock2D")
        sampling = "resnet" if self.updown else "conv"
        return self.shared_config(("AttnDownBlock2D", "AttnUpBlock2D"), plain) | {
            "downsample_type": sampling,
            "upsample_type": sampling,
            "attention_head_dim": math.gcd(*self.widths()),
            "attn_norm_num_groups": 32,
            "num_class_embeds": self.classes,
        }

    def shared_config(self, attended: tuple[str, str], plain: tuple[str, str]) -> dict[str, Any]:
        """Arguments that all UNets of diffusers share, for blocks (down, up) of these types."""
        return {
            "sample_size": self.image_size,
            "in_channels": self.in_channels,
            "out_channels": self.in_channels * (1 + self.learned_variance),
            "block_out_channels": tuple(self.channels),
            "layers_per_block": self.layers,
            "down_block_types": tuple(attended[0] if a else plain[0] for a in self.attended),
            "up_block_types": tuple(attended[1] if a else plain[1] for a in reversed(self.attended)),
            "resnet_time_scale_shift": "scale_shift" if self.scale_shift else "default",
            "time_embedding_dim": None if self.time_channels == self.channels[0] else 4 * self.time_channels,
        }

    def network(self) -> Any:
        """A UNet2DModel without weights, on the meta device."""
        from diffusers import UNet2DModel
        from diffusers.models.attention_processor import Attention
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps

        with torch.device("meta"):
            unet = UNet2DModel(**self.config())
            if self.time_channels != self.channels[0]:
                unet.time_proj = Timesteps(self.time_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
                unet.time_embedding = TimestepEmbedding(self.time_channels, 4 * self.time_channels)
        for layer in unet.modules():
            if isinstance(layer, Attention):
                width = self.heads.width(layer.inner_dim)
                layer.heads, layer.scale = layer.inner_dim // width, width**-0.5
        return unet

    def modules(self) -> Iterator[tuple[str, str]]:
        """(name in guided-diffusion, name in diffusers) of every layer, in the order of the network's data flow."""
        levels, down, up = len(self.channels), 0, 0
        if self.classes:
            yield "label_emb", "class_embedding"
        yield from zip(("time_embed.0", "time_embed.2"), _in("time_embedding", "linear_1", "linear_2"), strict=True)
        yield "input_blocks.0.0", "conv_in"
        for level in range(levels):
            for layer in range(self.layers):
                down += 1
                yield f"input_blocks.{down}.0", f"down_blocks.{level}.resnets.{layer}"
                if self.attended[level]:
                    yield f"input_blocks.{down}.1", f"down_blocks.{level}.attentions.{layer}"
            if level < levels - 1:
                down += 1
                yield f"input_blocks.{down}.0", f"down_blocks.{level}.downsamplers.0"
        yield from zip(
            _in("middle_block", "0", "1", "2"), _in("mid_block", "resnets.0", "attentions.0", "resnets.1"), strict=True
        )
        for level in range(levels):
            attended = self.attended[levels - 1 - level]
            for layer in range(self.layers + 1):
                yield f"output_blocks.{up}.0", f"up_blocks.{level}.resnets.{layer}"
                if attended:
                    yield f"output_blocks.{up}.1", f"up_blocks.{level}.attentions.{layer}"
                if level < levels - 1 and layer == self.layers:
                    yield f"output_blocks.{up}.{1 + attended}", f"up_blocks.{level}.upsamplers.0"
                up += 1
        yield from (("out.0", "conv_norm_out"), ("out.2", "conv_out"))


PARTS = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut", "norm": "group_norm", "proj_out": "to_out.0",
    "op": "conv",
}  # fmt: skip
"""Parts of residual blocks, attention layers and samplers in guided-diffusion -> in diffusers."""


def translate(theirs: State, architecture: Architecture, attention_order: AttentionOrder = "legacy") -> State:
    """The state dict under the names of UNet2DModel.  Errors: Unfit for a name without counterpart."""
    places, ours = dict(architecture.modules()), {}
    for name, value in theirs.items():
        module = next((m for m in (name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)) if m in places), None)
        if module is None:
            raise Unfit(f"its tensor {name} has no counterpart in diffusers")
        part, _, kind = name[len(module) + 1 :].rpartition(".")
        place = places[module]
        if f"{module}.proj_in.weight" in theirs:  # a transformer, whose parts have the same names in both
            ours[f"{place}.{part}.{kind}"] = value
        elif part == "qkv":
            for target, third in zip(
                ("to_q", "to_k", "to_v"), _thirds(value, architecture, attention_order), strict=True
            ):
                ours[f"{place}.{target}.{kind}"] = third
        else:
            matrix = part == "proj_out" and kind == "weight"  # a 1 x 1 convolution, a linear layer in diffusers
            target = PARTS.get(part, part)
            ours[".".join(filter(None, (place, target, kind)))] = value.flatten(1) if matrix else value
    return ours


def _thirds(qkv: Tensor, architecture: Architecture, order: AttentionOrder) -> tuple[Tensor, ...]:
    """q, k and v of a joint projection [3 C, C, 1] or its bias [3 C]: in "legacy" order the rows are q, k and v of head
    1, then of head 2, ...; in "new" order q of all heads, then k, then v."""
    rows = qkv.flatten(1) if qkv.ndim > 1 else qkv
    if len(rows) % 3:
        raise Unfit(f"its qkv has {len(rows)} rows, expected a multiple of 3")
    if order == "new":
        return tuple(third.clone() for third in rows.chunk(3))  # safetensors refuses tensors that share memory
    heads = rows.unflatten(0, (-1, 3, architecture.heads.width(len(rows) // 3)))
    return tuple(heads[:, k].flatten(0, 1) for k in range(3))


def fill(network: nn.Module, ours: State, dtype: torch.dtype = torch.float32) -> None:
    """Loads weights into a network on the meta device.  Errors: Unfit if names or shapes do not match."""
    wanted = network.state_dict()
    for name, parameter in wanted.items():
        if name not in ours or ours[name].shape != parameter.shape:
            found = tuple(ours[name].shape) if name in ours else "nothing"
            raise Unfit(f"for {name} it has {found} instead of {tuple(parameter.shape)}")
    if more := sorted(ours.keys() - wanted.keys()):
        raise Unfit(f"its {more[0]} has no counterpart in diffusers")
    network.load_state_dict({name: value.to(dtype) for name, value in ours.items()}, assign=True)


def _in(parent: str, *children: str) -> list[str]:
    return [f"{parent}.{child}" for child in children]
