"""Checkpoints of guided-diffusion against an independent network of the published architecture (guided_unet.py)."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import save_file

from rps.priors import DiffusersPrior, GuidedDiffusionPrior
from rps.priors.checkpoints.guided_unet import Architecture
from rps.priors.checkpoints.torch_files import unwrap
from tests.rps.guided_unet import (
    FFHQ,
    IMAGENET,
    IMAGENET_64,
    IMAGENET_128,
    IMAGENET_512,
    TINY,
    Attention,
    GuidedUNet,
    narrow,
    network,
)
from tests.rps.malicious import Malicious

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import convert_checkpoint

ARCHITECTURES = {
    "ffhq": narrow(FFHQ),
    "imagenet": narrow(IMAGENET),
    "class-conditional imagenet": narrow(IMAGENET) | {"classes": 10},
    "imagenet 64": narrow(IMAGENET_64) | {"classes": 10},
    "imagenet 128": narrow(IMAGENET_128, head_channels=None) | {"classes": 10},
    "imagenet 512": narrow(IMAGENET_512, channels=64) | {"classes": 10},
    "fixed variance": TINY | {"out_channels": 3},
    "resampling by convolutions": TINY | {"updown": False},
    "plain norms": TINY | {"scale_shift": False},
    "grey": TINY | {"in_channels": 1, "out_channels": 1},
}


def save(flags: dict, path: Path) -> GuidedUNet:
    net = network(flags)
    torch.save(net.state_dict(), path)
    return net


def options(flags: dict) -> dict:
    return {
        "head_channels": flags.get("head_channels"),
        "num_heads": flags.get("num_heads"),
        "attention_order": "new" if flags.get("new_order") else "legacy",
        "class_label": 3 if flags.get("classes") else None,
    }


@torch.no_grad()
def relative_error(flags: dict, path: Path, size: int) -> float:
    """|| eps of the prior - eps of the original || / || eps of the original ||, and likewise the variance."""
    net = save(flags, path)
    prior = GuidedDiffusionPrior(str(path), **options(flags))
    channels = flags.get("in_channels", 3)
    x, t = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 800])
    output = net(x, t, torch.tensor([3, 3]) if flags.get("classes") else None)
    denoised = prior.denoise(x, t)
    eps = output[:, :channels]
    if output.shape[1] > channels:
        torch.testing.assert_close(2 * denoised.variance_fraction - 1, output[:, channels:], atol=1e-4, rtol=1e-4)
    else:
        assert denoised.variance_fraction is None
    return float((denoised.eps - eps).norm() / eps.norm())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_prior_is_the_original_network(name, tmp_path):
    flags = ARCHITECTURES[name]
    assert relative_error(flags, tmp_path / "net.pt", 2 ** len(flags["mults"]) // 2) < 1e-5


@pytest.mark.slow
def test_the_prior_is_the_original_network_at_full_width(tmp_path):
    """94 million parameters, as in ffhq_10m.pt; 553 million of ImageNet's gave 1.4e-6 in the same way."""
    assert relative_error(FFHQ, tmp_path / "net.pt", 32) < 1e-5


@torch.no_grad()
def test_a_file_of_safetensors_is_the_same(tmp_path):
    net = save(TINY, tmp_path / "net.pt")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 800])
    one, other = (GuidedDiffusionPrior(str(tmp_path / f"net.{end}"), head_channels=32) for end in ("pt", "safetensors"))
    assert torch.equal(one.denoise(x, t).eps, other.denoise(x, t).eps)
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:5000])
    with pytest.raises(ValueError, match="it is truncated or not a safetensors file; download it again"):
        GuidedDiffusionPrior(str(tmp_path / "half.safetensors"), head_channels=32)


PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model._orig_mod.module.model.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@torch.no_grad()
def test_prefixes_of_wrapped_networks_are_removed(prefix, tmp_path):
    net, path = save(TINY, tmp_path / "net.pt"), tmp_path / "wrapped.pt"
    torch.save({"state_dict": {prefix + name: value for name, value in net.state_dict().items()}}, path)
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 800])
    one, other = (GuidedDiffusionPrior(str(tmp_path / f"{name}.pt"), head_channels=32) for name in ("net", "wrapped"))
    assert torch.equal(one.denoise(x, t).eps, other.denoise(x, t).eps)


def test_a_prefix_that_not_all_names_share_is_kept():
    one = torch.zeros(1)
    for names in (
        ["model.diffusion_model.a", "first_stage_model.b"],
        ["model.diffusion_model.a"],
        ["model.a", "b"],
        ["modelling.a"],
    ):
        assert list(unwrap(dict.fromkeys(names, one))) == names
    assert list(unwrap({"module.model.diffusion_model._orig_mod.a": one, "module.betas": one})) == [
        "model.diffusion_model.a",
        "betas",
    ]
    assert unwrap({}) == {}


def test_what_the_shapes_say(tmp_path):
    """Sizes that are known of the published files: parameters, pixels."""
    with torch.device("meta"):
        published = [GuidedUNet(**flags) for flags in (FFHQ, IMAGENET, IMAGENET_64, IMAGENET_128, IMAGENET_512)]
    counts = [sum(p.numel() for p in net.parameters()) for net in published]
    assert [round(count / 1e6, 1) for count in counts] == [93.6, 552.8, 295.9, 421.5, 559.0]
    save(narrow(FFHQ), tmp_path / "ffhq.pt")
    prior = GuidedDiffusionPrior(str(tmp_path / "ffhq.pt"), head_channels=16)
    assert prior.sample_shape == (3, 256, 256) and len(prior.schedule) == 1000
    assert prior.schedule.alpha(999) ** 2 == pytest.approx(4.0e-5, rel=0.01)  # linear betas
    save(narrow(IMAGENET_64), tmp_path / "64.pt")
    prior = GuidedDiffusionPrior(str(tmp_path / "64.pt"), 3, 16, "new", "cosine", dtype="bfloat16")
    assert prior.sample_shape == (3, 64, 64) and prior.unet.dtype == torch.bfloat16
    assert prior.schedule.alpha(499) ** 2 == pytest.approx(np.cos(0.508 / 1.008 * np.pi / 2) ** 2, abs=1e-3)


def test_the_attention_order_matters(tmp_path):
    """The comparison can tell: the same file in the other order is far away."""
    net = save(TINY | {"head_channels": 16}, tmp_path / "net.pt")
    x, t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        eps = net(x, t)[:, :3]
        other = (
            GuidedDiffusionPrior(str(tmp_path / "net.pt"), head_channels=16, attention_order="new").denoise(x, t).eps
        )
        for layer in net.modules():
            if isinstance(layer, Attention):
                layer.new_order = True
        assert (other - eps).norm() > 1e-3 * eps.norm()
        torch.testing.assert_close(other, net(x, t)[:, :3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("flags", [FFHQ, IMAGENET, IMAGENET_64, IMAGENET_128, IMAGENET_512])
def test_published_networks_have_the_published_heads(flags):
    """Without any flag of ours, at full width, on the meta device."""
    with torch.device("meta"):
        state = GuidedUNet(**flags).state_dict()
    unet = Architecture.of(state).network()
    heads = [layer.heads for layer in unet.modules() if type(layer).__name__ == "Attention"]
    channels = [layer.inner_dim for layer in unet.modules() if type(layer).__name__ == "Attention"]
    assert heads == [flags.get("num_heads") or c // flags["head_channels"] for c in channels]


def test_heads_that_nothing_says_are_asked_for(tmp_path):
    """Another number of heads is another network of the same shapes: TINY's 64 channels as 2 heads or 4."""
    path = tmp_path / "net.pt"
    net = save({**TINY, "head_channels": None, "num_heads": 4}, path)
    with pytest.raises(ValueError, match=r"give head_channels .* or num_heads"):
        GuidedDiffusionPrior(str(path))
    with pytest.raises(ValueError, match="head_channels and num_heads exclude each other, got 16 and 4"):
        GuidedDiffusionPrior(str(path), head_channels=16, num_heads=4)
    with pytest.raises(ValueError, match="num_heads must divide the 64 channels of the attention layers, got 3"):
        GuidedDiffusionPrior(str(path), num_heads=3)
    x, t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        eps = net(x, t)[:, :3]
        torch.testing.assert_close(GuidedDiffusionPrior(str(path), num_heads=4).denoise(x, t).eps, eps)
        other = GuidedDiffusionPrior(str(path), num_heads=2).denoise(x, t).eps
    assert (other - eps).norm() > 1e-3 * eps.norm()


@pytest.mark.parametrize("name", ["imagenet 128", "imagenet 512"])
def test_what_a_folder_cannot_say_is_not_converted(name, tmp_path, capsys):
    flags = ARCHITECTURES[name]
    save(flags, tmp_path / "net.pt")
    heads = ["--num-heads", "4"] if flags.get("num_heads") else ["--head-channels", "16"]
    assert convert_checkpoint.main([f"{tmp_path}/net.pt", f"{tmp_path}/folder", *heads]) == 2
    err = capsys.readouterr().err
    assert "cannot express" in err and "GuidedDiffusionPrior reads" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("order", ["legacy", "new"])
def test_the_converted_folder_is_the_same_prior(order, tmp_path, capsys):
    save(TINY | {"head_channels": 16}, tmp_path / "net.pt")
    arguments = (
        f"{tmp_path}/net.pt {tmp_path}/folder --head-channels 16 --noise-schedule cosine --attention-order {order}"
    )
    assert convert_checkpoint.main(arguments.split()) == 0
    assert capsys.readouterr().out.startswith("16 x 16 pixels")
    ours = GuidedDiffusionPrior(str(tmp_path / "net.pt"), None, 16, order, "cosine")
    theirs = DiffusersPrior.from_pretrained(str(tmp_path / "folder"))
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 800])
    for a, b in zip(ours.denoise(x, t), theirs.denoise(x, t), strict=True):
        assert torch.equal(a, b)
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "folder")
    assert pipeline(num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)
    assert convert_checkpoint.main(arguments.split()) == 2, "an existing folder is left alone"
    assert "is not empty" in capsys.readouterr().err
    assert convert_checkpoint.main([str(tmp_path / "none.pt"), str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def spoilt(kind: str, path: Path) -> None:
    """Write an unusable checkpoint."""
    state = network(TINY).state_dict()
    if kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "page":
        path.write_text("<html>404</html>")
    elif kind == "code":
        torch.save(state | {"out.2.bias": Malicious(path.with_suffix(".ran"))}, path)
    elif kind == "nested":
        torch.save({"model": state, "step": 3}, path)
    elif kind == "lacking":
        torch.save({name: value for name, value in state.items() if name != "middle_block.2.in_layers.2.bias"}, path)
    elif kind == "half":
        torch.save({name: value for name, value in state.items() if "output_blocks.1" not in name}, path)
    elif kind == "more":
        torch.save(state | {"controller.weight": torch.zeros(1)}, path)
    elif kind == "classifier":
        torch.save({name: value for name, value in state.items() if not name.startswith("output")}, path)
    elif kind == "upsampler":
        torch.save(network(TINY | {"in_channels": 6}).state_dict(), path)
    elif kind == "two networks":
        wide = network(TINY | {"channels": 64}).state_dict()
        torch.save(state | {name: value for name, value in wide.items() if name.startswith("time_embed")}, path)
    elif kind == "flat":
        torch.save(state | {"out.2.weight": torch.tensor(1.0)}, path)
    elif kind == "odd attention":
        torch.save(state | {"middle_block.1.qkv.bias": torch.zeros(191)}, path)
    elif kind == "other":
        torch.save({"conv_in.weight": torch.zeros(1)}, path)


SPOILT = {
    "truncated": "is truncated or not a file that torch.save wrote",
    "empty": "is truncated",
    "page": "contains more than tensors",
    "code": "could run code and is refused",
    "nested": "is not a dictionary of tensors",
    "lacking": r"for mid_block.resnets.1.conv1.bias it has nothing instead of \(64,\)",
    "half": "output_blocks",
    "more": "its tensor controller.weight has no counterpart",
    "classifier": "output_blocks",
    "upsampler": "maps 6 channels to 6",
    "two networks": r"for down_blocks.0.resnets.0.time_emb_proj.weight it has .64, 128. instead of .64, 256.",
    "other": "it has no input_blocks.0.0.weight of the expected shape among its 1 tensors",
    "flat": "it has no out.2.weight of the expected shape",
    "odd attention": r"its qkv has 191 rows, expected a multiple of 3",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_an_unusable_checkpoint_is_one_sentence(kind, tmp_path):
    path = tmp_path / "net.pt"
    spoilt(kind, path)
    with pytest.raises(ValueError, match=SPOILT[kind]) as message:
        GuidedDiffusionPrior(str(path), head_channels=32)
    assert "\n" not in str(message.value) and str(path) in str(message.value)
    assert not path.with_suffix(".ran").exists()


def test_wrong_arguments_are_one_sentence(tmp_path):
    path = tmp_path / "net.pt"
    save(TINY | {"classes": 10}, path)
    with pytest.raises(ValueError, match=r"class_label must be 0 .. 9, got 10"):
        GuidedDiffusionPrior(str(path), 10, 32)
    with pytest.raises(ValueError, match="head_channels must divide the 64 channels of the attention layers, got 48"):
        GuidedDiffusionPrior(str(path), 1, 48)
    with pytest.raises(ValueError, match="image_size must be a multiple of 2 for its 2 levels, got 15"):
        GuidedDiffusionPrior(str(path), 1, 32, image_size=15)
    with pytest.raises(ValueError, match="attention_order must be legacy or new"):
        GuidedDiffusionPrior(str(path), 1, 32, "old")
    with pytest.raises(ValueError, match="noise_schedule must be linear or cosine"):
        GuidedDiffusionPrior(str(path), 1, 32, noise_schedule="quadratic")
    with pytest.raises(FileNotFoundError, match=r"for a folder in diffusers format use DiffusersPrior"):
        GuidedDiffusionPrior(str(tmp_path))
    save(TINY, path)
    with pytest.raises(ValueError, match="class_label is 1, but this network has no classes"):
        GuidedDiffusionPrior(str(path), 1, 32)
