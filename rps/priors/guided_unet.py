"""The UNet of guided-diffusion (arXiv 2105.05233) as a UNet2DModel of the same function: its architecture, read off the
shapes of its tensors, and their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

State = dict[str, Tensor]
AttentionOrder = Literal["legacy", "new"]


class Unfit(Exception):
    """Why a state dict is not what it should be."""


@dataclass(frozen=True)
class Architecture:
    """What the published flags say, as the shapes tell it.

    channels: of each level. layers: num_res_blocks. attended: does a level have attention? updown: resblock_updown.
    """

    in_channels: int
    learned_variance: bool
    channels: list[int]
    layers: int
    attended: list[bool]
    updown: bool
    scale_shift: bool
    classes: int | None
    head_channels: int
    image_size: int

    @classmethod
    def of(cls, state: State, head_channels: int = 64, image_size: int | None = None) -> Architecture:
        """Errors: Unfit."""

        def size(name: str, axis: int = 0) -> int:
            if name not in state or state[name].ndim <= axis:
                raise Unfit(f"it has no {name} of the right kind among its {len(state)} tensors")
            return state[name].shape[axis]

        in_channels, out_channels = size("input_blocks.0.0.weight", 1), size("out.2.weight")
        if in_channels not in (1, 3) or out_channels not in (in_channels, 2 * in_channels):
            raise Unfit(
                f"it maps {in_channels} channels to {out_channels}, and an image prior 1 or 3 to as many or twice as "
                "many (upsamplers, which see a second image, are none)"
            )
        # An output block with a second convolution ends a level.
        ups = [re.fullmatch(r"output_blocks\.(\d+)\.[12]\.(in_layers\.2|conv)\.weight", name) for name in state]
        ends = sorted((int(match[1]), match[2]) for match in ups if match)
        levels, layers = len(ends) + 1, ends[0][0] if ends else 0
        if layers < 1 or [end for end, _ in ends] != [layers + k * (layers + 1) for k in range(levels - 1)]:
            raise Unfit("its output_blocks are not those of equally deep levels; it is incomplete or of another kind")
        firsts = [1 + level * (layers + 1) for level in range(levels)]
        channels = [size(f"input_blocks.{first}.0.out_layers.3.weight") for first in firsts]
        attended = [f"input_blocks.{first}.1.qkv.weight" in state for first in firsts]
        if (told := size("time_embed.0.weight", 1)) != channels[0]:
            raise Unfit(
                f"its time embedding has {told} channels and its first level {channels[0]}, which a UNet2DModel cannot "
                "represent (the 512 x 512 networks are such)"
            )
        if odd := [c for c in channels if c % 32]:
            raise Unfit(f"the channels of its levels must be multiples of 32, got {odd[0]}")
        attending = [c for c, a in zip(channels, attended, strict=True) if a] + channels[-1:]
        if head_channels < 1 or any(c % head_channels for c in attending):
            wanted = ", ".join(str(c) for c in sorted(set(attending)))
            raise Unfit(f"head_channels must divide the {wanted} channels of attention layers, got {head_channels}")
        if image_size is not None and (image_size < 1 or image_size % 2 ** (levels - 1)):
            raise Unfit(
                f"image_size must be a multiple of {2 ** (levels - 1)} for its {levels} levels, got {image_size}"
            )
        return cls(
            in_channels,
            out_channels == 2 * in_channels,
            channels,
            layers,
            attended,
            updown=ends[0][1] != "conv",
            scale_shift=size("input_blocks.1.0.emb_layers.1.weight") == 2 * channels[0],
            classes=size("label_emb.weight") if "label_emb.weight" in state else None,
            head_channels=head_channels,
            image_size=image_size or 8 * 2 ** (levels - 1),
        )

    def config(self) -> dict[str, Any]:
        """Arguments of a UNet2DModel."""
        plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if self.updown else ("DownBlock2D", "UpBlock2D")
        sampling = "resnet" if self.updown else "conv"
        return {
            "sample_size": self.image_size,
            "in_channels": self.in_channels,
            "out_channels": self.in_channels * (1 + self.learned_variance),
            "block_out_channels": tuple(self.channels),
            "layers_per_block": self.layers,
            "down_block_types": tuple("AttnDownBlock2D" if a else plain[0] for a in self.attended),
            "up_block_types": tuple("AttnUpBlock2D" if a else plain[1] for a in reversed(self.attended)),
            "downsample_type": sampling,
            "upsample_type": sampling,
            "attention_head_dim": self.head_channels,
            "attn_norm_num_groups": 32,
            "resnet_time_scale_shift": "scale_shift" if self.scale_shift else "default",
            "num_class_embeds": self.classes,
        }

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
    """The state dict of guided-diffusion under the names of UNet2DModel.  Errors: Unfit where a name has no place."""
    places, ours = dict(architecture.modules()), {}
    for name, value in theirs.items():
        module = next((m for m in (name.rsplit(".", k)[0] for k in (1, 2, 3)) if m in places), None)
        if module is None:
            raise Unfit(f"there is no place for its tensor {name}")
        part, _, kind = name[len(module) + 1 :].rpartition(".")
        place = places[module]
        if part == "qkv":
            for target, third in zip(
                ("to_q", "to_k", "to_v"), _thirds(value, architecture, attention_order), strict=True
            ):
                ours[f"{place}.{target}.{kind}"] = third
        else:
            matrix = part == "proj_out" and kind == "weight"  # a 1 x 1 convolution in one, a linear layer in the other
            target = PARTS.get(part, part)
            ours[".".join(filter(None, (place, target, kind)))] = value.flatten(1) if matrix else value
    return ours


def _thirds(qkv: Tensor, architecture: Architecture, order: AttentionOrder) -> tuple[Tensor, ...]:
    """q, k and v of a joint projection [3 C, C, 1] or its bias [3 C]: in "legacy" order the rows are those of head 1's
    q, k and v, then head 2's; in "new" order all heads' q, then all k, then all v."""
    rows = qkv.flatten(1) if qkv.ndim > 1 else qkv
    if len(rows) % (3 * architecture.head_channels):
        raise Unfit(f"its qkv have {len(rows)} rows, which is no multiple of 3 x {architecture.head_channels}")
    if order == "new":
        return tuple(third.clone() for third in rows.chunk(3))  # safetensors refuses tensors that share memory
    heads = rows.unflatten(0, (-1, 3, architecture.head_channels))
    return tuple(heads[:, k].flatten(0, 1) for k in range(3))


def _in(parent: str, *children: str) -> list[str]:
    return [f"{parent}.{child}" for child in children]
