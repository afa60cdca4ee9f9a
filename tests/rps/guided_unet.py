"""The UNet of guided-diffusion, written from the description of its architecture (arXiv 2105.05233) and the names in
its checkpoints: an independent reference for what rps/priors/checkpoints/guided_diffusion.py makes of them."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """in_layers: norm, SiLU, conv; emb_layers: SiLU, linear; out_layers: norm, SiLU, dropout, conv; skip_connection.
    `resample` acts before the first convolution and on the skip; scale-shift norm modulates the second norm."""

    def __init__(self, channels, emb, out, scale_shift, resample=None):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample or (lambda x: x)
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, out * (1 + scale_shift)))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(out, out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if out == channels else nn.Conv2d(channels, out, 1)

    def forward(self, x, emb):
        h = self.in_layers[2](self.resample(self.in_layers[1](self.in_layers[0](x))))
        e = self.emb_layers(emb)[:, :, None, None]
        norm, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + e)
        for layer in rest:
            h = layer(h)
        return self.skip_connection(self.resample(x)) + h


class Attention(nn.Module):
    """x + proj_out(softmax(q^T k / sqrt(d)) v), q, k, v = qkv(norm(x)); one head after another."""

    def __init__(self, channels, head_channels, num_heads, new_order):
        super().__init__()
        self.heads, self.new_order = num_heads or channels // head_channels, new_order
        self.norm, self.qkv = nn.GroupNorm(32, channels), nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, emb):
        c = x.shape[1]
        flat = x.flatten(2)
        qkv, d, outputs = self.qkv(self.norm(flat)), c // self.heads, []
        for head in range(self.heads):
            starts = [k * c + head * d if self.new_order else (3 * head + k) * d for k in range(3)]
            q, k, v = (qkv[:, start : start + d] for start in starts)
            weights = torch.softmax(torch.einsum("ndi,ndj->nij", q, k) / math.sqrt(d), dim=2)
            outputs.append(torch.einsum("nij,ndj->ndi", weights, v))
        return (flat + self.proj_out(torch.cat(outputs, dim=1))).view(x.shape)


class Resize(nn.Module):
    """Without resblock_updown: a convolution of stride 2 (`op`), or nearest neighbours and a convolution (`conv`)."""

    def __init__(self, channels, up):
        super().__init__()
        setattr(self, "conv" if up else "op", nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1))
        self.up = up

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2)) if self.up else self.op(x)


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class GuidedUNet(nn.Module):
    """attention: levels (0 is full resolution) whose residual blocks are each followed by attention; or by what
    attend(c) makes for c channels, which is called as the others are."""

    def __init__(
        self, channels, mults, blocks, attention, head_channels=None, out_channels=6, scale_shift=True, updown=True,
        new_order=False, classes=None, in_channels=3, num_heads=None, attend=None,
    ):  # fmt: skip
        super().__init__()
        self.channels, emb = channels, 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        if classes:
            self.label_emb = nn.Embedding(classes, emb)

        attend = attend or (lambda c: Attention(c, head_channels, num_heads, new_order))

        def resized(c, up):
            resample = (lambda x: F.interpolate(x, scale_factor=2)) if up else (lambda x: F.avg_pool2d(x, 2))
            return Residual(c, emb, c, scale_shift, resample) if updown else Resize(c, up)

        widths = [int(channels * mult) for mult in mults]
        c, skips = widths[0], [widths[0]]
        self.input_blocks = nn.ModuleList([nn.ModuleList([First(in_channels, c, 3, padding=1)])])
        for level in range(len(mults)):
            for _ in range(blocks):
                layers = [Residual(c, emb, widths[level], scale_shift)]
                c = widths[level]
                layers += [attend(c)] * (level in attention)
                self.input_blocks.append(nn.ModuleList(layers))
                skips.append(c)
            if level < len(mults) - 1:
                self.input_blocks.append(nn.ModuleList([resized(c, up=False)]))
                skips.append(c)
        self.middle_block = nn.ModuleList(
            [Residual(c, emb, c, scale_shift), attend(c), Residual(c, emb, c, scale_shift)]
        )
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(mults))):
            for k in range(blocks + 1):
                layers = [Residual(c + skips.pop(), emb, widths[level], scale_shift)]
                c = widths[level]
                layers += [attend(c)] * (level in attention)
                layers += [resized(c, up=True)] if level and k == blocks else []
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, out_channels, 3, padding=1))

    def forward(self, x, t, label=None):
        half = self.channels // 2
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if label is not None:
            emb = emb + self.label_emb(label)
        skips = []
        for block in self.input_blocks:
            for layer in block:
                x = layer(x, emb)
            skips.append(x)
        for layer in self.middle_block:
            x = layer(x, emb)
        for block in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            for layer in block:
                x = layer(x, emb)
        return self.out(x)


FFHQ = {"channels": 128, "mults": (1, 1, 2, 2, 4, 4), "blocks": 1, "attention": (4,), "head_channels": 64}
IMAGENET = {"channels": 256, "mults": (1, 1, 2, 2, 4, 4), "blocks": 2, "attention": (3, 4, 5), "head_channels": 64}
IMAGENET_64 = {
    "channels": 192, "mults": (1, 2, 3, 4), "blocks": 3, "attention": (1, 2, 3), "head_channels": 64, "classes": 1000,
    "new_order": True,
}  # fmt: skip
IMAGENET_128 = {
    "channels": 256, "mults": (1, 1, 2, 3, 4), "blocks": 2, "attention": (2, 3, 4), "num_heads": 4, "classes": 1000,
}  # fmt: skip
IMAGENET_512 = {
    "channels": 256, "mults": (0.5, 1, 1, 2, 2, 4, 4), "blocks": 2, "attention": (4, 5, 6), "head_channels": 64,
    "classes": 1000,
}  # fmt: skip
TINY = {"channels": 32, "mults": (1, 2), "blocks": 1, "attention": (1,), "head_channels": 32}


def narrow(flags, channels=32, head_channels=16):
    """The same architecture with fewer channels."""
    return flags | {"channels": channels, "head_channels": head_channels}


def network(flags, seed=0):
    """With random weights, norms included, none of them zero; of a size that keeps activations near 1."""
    torch.manual_seed(seed)
    net = GuidedUNet(**flags).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return net
