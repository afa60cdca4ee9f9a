"""Converts the autoencoder of latent diffusion (arXiv 2112.10752) to a VQModel or AutoencoderKL of diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from rps.priors.checkpoints.torch_files import State, Unfit


@dataclass(frozen=True)
class AutoencoderShape:
    """The flags of `ddconfig`, inferred from the shapes of the tensors.

    channels: ch times ch_mult. layers: num_res_blocks. attended: whether each level has attention. middle: whether the
    middle has. latent: z_channels. codes: n_embed of a quantised autoencoder, None for a Gaussian one (double_z).
    """

    image_channels: int
    channels: list[int]
    layers: int
    attended: list[bool]
    middle: bool
    latent: int
    codes: int | None

    @classmethod
    def of(cls, state: State) -> AutoencoderShape:
        """The shape of the autoencoder in a state dict.  Errors: Unfit."""

        def size(name: str, axis: int = 0) -> int:
            if name not in state or state[name].ndim <= axis:
                raise Unfit(f"its autoencoder has no tensor {name} of the expected shape")
            return state[name].shape[axis]

        found = [re.fullmatch(r"encoder\.down\.(\d+)\.block\.(\d+)\.conv1\.weight", name) for name in state]
        blocks = sorted((int(match[1]), int(match[2])) for match in found if match)
        levels, layers = (max(k) + 1 for k in zip(*blocks, strict=True)) if blocks else (0, 0)
        if len(blocks) != levels * layers or not blocks:
            raise Unfit("the levels of its autoencoder are not equally deep; it is incomplete or of another type")
        latent, embedded = size("post_quant_conv.weight"), size("post_quant_conv.weight", 1)
        if latent != embedded:
            raise Unfit(f"its autoencoder has {latent} channels and codes of {embedded}, but these must be equal")
        channels = [size(f"encoder.down.{level}.block.0.conv1.weight") for level in range(levels)]
        if odd := [c for c in channels if c % 32]:
            raise Unfit(f"its autoencoder has a level of {odd[0]} channels, expected a multiple of 32")
        return cls(
            size("encoder.conv_in.weight", 1),
            channels,
            layers,
            [f"encoder.down.{level}.attn.0.q.weight" in state for level in range(levels)],
            "encoder.mid.attn_1.q.weight" in state,
            latent,
            size("quantize.embedding.weight") if "quantize.embedding.weight" in state else None,
        )

    def network(self, image_size: int, scaling_factor: float) -> Any:
        """A VQModel or an AutoencoderKL without weights, on the meta device."""
        from diffusers import AutoencoderKL, VQModel

        config: dict[str, Any] = {
            "in_channels": self.image_channels,
            "out_channels": self.image_channels,
            "latent_channels": self.latent,
            "block_out_channels": tuple(self.channels),
            "layers_per_block": self.layers,
            "down_block_types": tuple("AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in self.attended),
            "up_block_types": tuple(
                "AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(self.attended)
            ),
            "norm_num_groups": 32,
            "mid_block_add_attention": self.middle,
            "sample_size": image_size,
            "scaling_factor": scaling_factor,
        }
        with torch.device("meta"):
            return AutoencoderKL(**config) if self.codes is None else VQModel(**config, num_vq_embeddings=self.codes)

    def modules(self) -> Iterator[tuple[str, str]]:
        """(name in latent diffusion, name in diffusers) of every layer."""
        levels = len(self.channels)
        for name in ("quant_conv", "post_quant_conv", *(["quantize.embedding"] if self.codes else [])):
            yield name, name
        for half, side, layers in (("encoder", "down", self.layers), ("decoder", "up", self.layers + 1)):
            yield f"{half}.conv_in", f"{half}.conv_in"
            yield f"{half}.norm_out", f"{half}.conv_norm_out"
            yield f"{half}.conv_out", f"{half}.conv_out"
            for theirs, ours in (("block_1", "resnets.0"), ("attn_1", "attentions.0"), ("block_2", "resnets.1")):
                yield f"{half}.mid.{theirs}", f"{half}.mid_block.{ours}"
            for level in range(levels):
                # Latent diffusion counts levels from the finest, diffusers in the order of the data flow.
                place = f"{half}.{side}_blocks.{level if side == 'down' else levels - 1 - level}"
                for layer in range(layers):
                    yield f"{half}.{side}.{level}.block.{layer}", f"{place}.resnets.{layer}"
                    yield f"{half}.{side}.{level}.attn.{layer}", f"{place}.attentions.{layer}"
                yield f"{half}.{side}.{level}.{side}sample", f"{place}.{side}samplers.0"


PARTS = {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
"""Parts of residual blocks and of attention layers in latent diffusion -> in diffusers."""


def translate_autoencoder(theirs: State, shape: AutoencoderShape) -> State:
    """The state dict of an autoencoder under the names of diffusers.  Errors: Unfit for a name without counterpart."""
    places, ours = dict(shape.modules()), {}
    for name, value in theirs.items():
        if name.startswith("loss."):  # the discriminator of its training
            continue
        module = next((m for m in (name.rsplit(".", k)[0] for k in (1, 2)) if m in places), None)
        if module is None:
            raise Unfit(f"the tensor {name} of its autoencoder has no counterpart in diffusers")
        part, _, kind = name[len(module) + 1 :].rpartition(".")
        attention = ".attn" in module
        target = (ATTENTION if attention else PARTS).get(part, part)
        matrix = attention and kind == "weight" and value.ndim == 4  # 1 x 1 convolutions, linear layers in diffusers
        ours[".".join(filter(None, (places[module], target, kind)))] = value[:, :, 0, 0] if matrix else value
    return ours
