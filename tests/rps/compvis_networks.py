"""The networks of CompVis' latent-diffusion, written from the description of their architecture (arXiv 2112.10752,
appendix E; VQGAN, 2012.09841) and the names in its checkpoints: independent of rps/priors/compvis_*.py."""

import math
import sys
import types

import torch
import torch.nn.functional as F
from torch import nn

from tests.rps.guided_unet import GuidedUNet


class CrossAttention(nn.Module):
    """softmax(q k^T / sqrt(d)) v, q of x [N, L, C], k and v of the context [N, M, D]."""

    def __init__(self, channels, context, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, channels, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(0.1))

    def forward(self, x, context):
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        d, outputs = q.shape[2] // self.heads, []
        for head in range(self.heads):
            a, b, c = (part[:, :, head * d : (head + 1) * d] for part in (q, k, v))
            outputs.append(torch.softmax(a @ b.transpose(1, 2) / math.sqrt(d), dim=2) @ c)
        return self.to_out(torch.cat(outputs, dim=2))


class Gated(nn.Module):
    """x GELU(gate), both from one projection."""

    def __init__(self, channels, inner):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        inner = 4 * channels
        self.net = nn.Sequential(Gated(channels, inner), nn.Dropout(0.1), nn.Linear(inner, channels))

    def forward(self, x):
        return self.net(x)


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward, each of the normalised input and added to it."""

    def __init__(self, channels, context, heads):
        super().__init__()
        self.attn1, self.ff = CrossAttention(channels, channels, heads), FeedForward(channels)
        self.attn2 = CrossAttention(channels, context, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x), self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """x + proj_out(blocks(proj_in(norm(x)))) over the pixels of x; `shared` holds the context of this call."""

    def __init__(self, channels, context, heads, shared):
        super().__init__()
        self.shared, self.norm = shared, nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([Block(channels, context, heads)])

    def forward(self, x, emb):
        rows = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        rows = self.transformer_blocks[0](rows, self.shared["context"])
        return x + self.proj_out(rows.transpose(1, 2).reshape(x.shape))


class LatentUNet(nn.Module):
    """The UNet of guided-diffusion without scale-shift norm and resblock_updown; with transformers if it has a
    context_dim. Its names begin with diffusion_model."""

    def __init__(self, channels, mults, attention, latent=3, head_channels=None, num_heads=None, context_dim=None):
        super().__init__()
        self.shared = {}

        def attend(c):
            return Transformer(c, context_dim, num_heads or c // head_channels, self.shared)

        self.diffusion_model = GuidedUNet(
            channels, mults, 2, attention, head_channels, latent, scale_shift=False, updown=False, in_channels=latent,
            num_heads=num_heads, attend=attend if context_dim else None,
        )  # fmt: skip

    def forward(self, z, t, context=None):
        self.shared["context"] = context
        return self.diffusion_model(z, t)


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.norm1, self.conv1 = norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm2, self.conv2 = norm(out), nn.Conv2d(out, out, 3, padding=1)
        if channels != out:
            self.nin_shortcut = nn.Conv2d(channels, out, 1)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """One head over the pixels, by 1 x 1 convolutions."""

    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("nci,ncj->nij", q, k) / math.sqrt(x.shape[1]), dim=2)
        return x + self.proj_out(torch.einsum("nij,ncj->nci", weights, v).reshape(x.shape))


class Down(nn.Module):
    """A convolution of stride 2 over an image that is padded to the right and below."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2))


class Level(nn.Module):
    """block and attn, one for one where there is attention, then downsample or upsample."""

    def __init__(self, channels, out, blocks, attended):
        super().__init__()
        self.block = nn.ModuleList([ResnetBlock(channels if k == 0 else out, out) for k in range(blocks)])
        self.attn = nn.ModuleList([AttnBlock(out) for _ in range(blocks * attended)])

    def forward(self, x):
        for k, block in enumerate(self.block):
            x = self.attn[k](block(x)) if len(self.attn) else block(x)
        for resize in ("downsample", "upsample"):
            x = getattr(self, resize)(x) if hasattr(self, resize) else x
        return x


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.block_2 = ResnetBlock(channels, channels), ResnetBlock(channels, channels)
        self.attn_1 = AttnBlock(channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    def __init__(self, ch, mults, blocks, attended, out):
        super().__init__()
        self.conv_in, widths = nn.Conv2d(3, ch, 3, padding=1), [ch * mult for mult in mults]
        self.down = nn.ModuleList()
        for level, (c, width) in enumerate(zip([ch, *widths], widths, strict=False)):
            self.down.append(Level(c, width, blocks, level in attended))
            if level < len(mults) - 1:
                self.down[level].downsample = Down(width)
        self.mid, self.norm_out = Middle(widths[-1]), norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """`up` counts levels from the finest, and data flow through it from its end to its beginning."""

    def __init__(self, ch, mults, blocks, attended, latent):
        super().__init__()
        widths = [ch * mult for mult in mults]
        self.conv_in, self.mid = nn.Conv2d(latent, widths[-1], 3, padding=1), Middle(widths[-1])
        before = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList([Level(before[k], widths[k], blocks + 1, k in attended) for k in range(len(mults))])
        for level in range(1, len(mults)):
            self.up[level].upsample = Up(widths[level])
        self.norm_out, self.conv_out = norm(widths[0]), nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, z):
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Codes(nn.Module):
    def __init__(self, number, channels):
        super().__init__()
        self.embedding = nn.Embedding(number, channels)

    def forward(self, z):
        """The nearest code of every pixel."""
        rows = z.permute(0, 2, 3, 1)
        distances = (rows[..., None, :] - self.embedding.weight).square().sum(-1)
        return self.embedding(distances.argmin(-1)).permute(0, 3, 1, 2)


class FirstStage(nn.Module):
    """codes: of a quantised autoencoder; without them a Gaussian one, of which `encode` gives mean and log variance."""

    def __init__(self, ch, mults, latent=3, codes=None, blocks=2, attended=()):
        super().__init__()
        moments = latent if codes else 2 * latent
        self.encoder = Encoder(ch, mults, blocks, attended, moments)
        self.decoder = Decoder(ch, mults, blocks, attended, latent)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(moments, moments, 1), nn.Conv2d(latent, latent, 1)
        if codes:
            self.quantize = Codes(codes, latent)

    def encode(self, x):
        return self.quant_conv(self.encoder(x))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(self.quantize(z) if hasattr(self, "quantize") else z))


class ClassEmbedder(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.embedding = nn.Embedding(classes, channels)


class LatentDiffusion(nn.Module):
    """model, first_stage_model and, if conditioned on a class, cond_stage_model."""

    def __init__(self, unet, first, classes=None):
        super().__init__()
        self.model, self.first_stage_model = LatentUNet(**unet), FirstStage(**first)
        if classes:
            self.cond_stage_model = ClassEmbedder(classes, unet["context_dim"])

    def eps(self, z, t, label=None):
        context = None if label is None else self.cond_stage_model.embedding(label)[:, None]
        return self.model(z, t, context)


VQ_F4 = {"ch": 128, "mults": (1, 2, 4), "codes": 8192}
FFHQ_LDM = {
    "unet": {"channels": 224, "mults": (1, 2, 3, 4), "attention": (1, 2, 3), "head_channels": 32}, "first": VQ_F4,
}  # fmt: skip
CIN256_V2 = {
    "unet": {"channels": 192, "mults": (1, 2, 3, 5), "attention": (1, 2, 3), "num_heads": 1, "context_dim": 512},
    "first": VQ_F4, "classes": 1001,
}  # fmt: skip
TINY_FIRST = {"ch": 32, "mults": (1, 2), "codes": 16, "blocks": 1}
TINY_LDM = {"unet": {"channels": 32, "mults": (1, 2), "attention": (1,), "head_channels": 32}, "first": TINY_FIRST}
TINY_CLASSES = {
    "unet": {"channels": 32, "mults": (1, 2), "attention": (1,), "num_heads": 2, "context_dim": 8},
    "first": TINY_FIRST, "classes": 6,
}  # fmt: skip
TINY_KL = {
    "unet": {"channels": 32, "mults": (1, 2), "attention": (0, 1), "latent": 4, "head_channels": 16},
    "first": {"ch": 32, "mults": (1, 1, 2), "latent": 4, "attended": (2,)},
}  # fmt: skip


def random_model(flags, seed=0):
    """With random weights, none of them zero; codes of the size of latents."""
    torch.manual_seed(seed)
    model = LatentDiffusion(**flags).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def scaled_linear(start=0.0015, end=0.0195, number=1000):
    return torch.linspace(start**0.5, end**0.5, number, dtype=torch.float64) ** 2


def save_ckpt(model, path, averages=None, scale_factor=None, betas=None):
    """As CompVis' training writes it: a state dict with the schedule beside the weights, moving averages under names
    without dots, and what PyTorch Lightning adds, in which callbacks are keyed by their class."""
    state = model.state_dict()
    state["betas"] = (scaled_linear() if betas is None else betas).float()
    state["logvar"] = torch.zeros(1000)
    state["first_stage_model.loss.logvar"] = torch.zeros(1)
    if scale_factor is not None:
        state["scale_factor"] = torch.tensor(scale_factor)
    if averages is not None:
        state |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(5)}
        for name, value in averages.state_dict().items():
            state["model_ema." + name.replace(".", "")] = value
    place = "pytorch_lightning.callbacks.model_checkpoint"
    kind = type("ModelCheckpoint", (), {"__module__": place})
    names = [".".join(place.split(".")[: k + 1]) for k in range(3)]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names})
    sys.modules[place].ModelCheckpoint = kind
    rest = {"callbacks": {kind: {"best_model_score": torch.tensor(0.1), "best_model_path": "x"}}, "epoch": 3}
    try:
        torch.save({"state_dict": state, "global_step": 7, "pytorch-lightning_version": "1.4.2", **rest}, path)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
