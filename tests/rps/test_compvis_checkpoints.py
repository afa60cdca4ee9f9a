"""Checkpoints of CompVis' latent-diffusion against independent networks of the published architecture
(compvis_networks.py): converted, loaded as a folder, and asked."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rps.measurement import degrade
from rps.operators import Denoise
from rps.priors import LatentPrior, StableDiffusionPrior
from rps.priors.checkpoints.compvis_ldm import latent_diffusion
from rps.priors.checkpoints.torch_files import Unfit, read_tensors
from tests.rps.compvis_networks import (
    CIN256_V2,
    FFHQ_LDM,
    TINY_CLASSES,
    TINY_KL,
    TINY_LDM,
    LatentDiffusion,
    random_model,
    save_ckpt,
    scaled_linear,
)
from tests.rps.latent_models import save_stable_diffusion
from tests.rps.malicious import Malicious

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import convert_checkpoint

HEADS = {"unconditional": ["--head-channels", "32"], "classes": ["--num-heads", "2"], "kl": ["--head-channels", "16"]}
MODELS = {"unconditional": TINY_LDM, "classes": TINY_CLASSES, "kl": TINY_KL}


def converted(kind: str, folder: Path, *options: str, **more) -> tuple[LatentDiffusion, str]:
    """The original network, and the folder that its checkpoint was converted to."""
    model = random_model(MODELS[kind])
    if kind == "kl" and "--scale-factor" not in options:
        more = {"scale_factor": 1.0, **more}
    save_ckpt(model, folder / "model.ckpt", **more)
    arguments = [str(folder / "model.ckpt"), str(folder / "ldm"), "--image-size", "16", *HEADS[kind], *options]
    assert convert_checkpoint.main(arguments) == 0
    return model, str(folder / "ldm")


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_the_prior_is_the_original_model(kind, tmp_path):
    """eps, encoder and decoder to 1e-5 of the original's; measured: 1e-6 and below."""
    model, path = converted(kind, tmp_path)
    label = 4 if kind == "classes" else None
    prior = LatentPrior.from_pretrained(path, class_label=label)
    assert prior.image_shape == (3, 16, 16)
    z, t = normal(2, *prior.sample_shape), torch.tensor([7, 800])
    expected = model.eps(z, t, None if label is None else torch.tensor([label] * 2))
    assert relative(prior.denoise(z, t).eps, expected) < 1e-5
    images = normal(2, 3, 16, 16).clamp(-1, 1)
    encoded = model.first_stage_model.encode(images)[:, : prior.sample_shape[0]]  # of moments the mean
    assert relative(prior.encode(images), encoded) < 1e-5
    assert relative(prior.decode(z), model.first_stage_model.decode(z)) < 1e-5
    kept = (1 - scaled_linear()).cumprod(0)
    torch.testing.assert_close(prior.schedule.alpha_table[:-1] ** 2, kept, rtol=1e-4, atol=0)


@torch.no_grad()
def test_class_guidance_is_the_published_formula(tmp_path):
    """c + 3 (c - u) is g = 4, u of the last class; and classes differ."""
    model, path = converted("classes", tmp_path)
    prior = LatentPrior.from_pretrained(path, class_label=1, guidance_scale=4.0)
    z, t = normal(2, *prior.sample_shape), torch.tensor([7, 800])
    c, u = (model.eps(z, t, torch.tensor([label] * 2)) for label in (1, 5))
    assert relative(prior.denoise(z, t).eps, c + 3 * (c - u)) < 1e-5
    assert relative(c, u) > 1e-3
    with pytest.raises(ValueError, match=r"class_label must be 0 .. 5, got 6"):
        LatentPrior.from_pretrained(path, class_label=6)
    measurement = replace(degrade(torch.zeros(2, *prior.image_shape), Denoise(), 0.1), conditions={"label": [1, 3]})
    own = LatentPrior.from_pretrained(path, guidance_scale=4.0).given(measurement)
    c = model.eps(z, t, torch.tensor([1, 3]))  # each row its own
    assert relative(own.denoise(z, t).eps, c + 3 * (c - u)) < 1e-5


@torch.no_grad()
def test_moving_averages_are_taken_where_there_are_any(tmp_path):
    averages = random_model(TINY_LDM, seed=1)
    for name, options, other in (("mean", [], False), ("last", ["--last-weights"], True)):
        (tmp_path / name).mkdir()
        model, path = converted("unconditional", tmp_path / name, *options, averages=averages.model)
        prior = LatentPrior.from_pretrained(path)
        z, t = normal(2, *prior.sample_shape), torch.tensor([7, 800])
        expected = (model if other else averages).eps(z, t)
        assert relative(prior.denoise(z, t).eps, expected) < 1e-5
        assert relative(model.eps(z, t), averages.eps(z, t)) > 1e-3


def test_scale_factor_and_betas_are_read(tmp_path):
    betas = torch.linspace(1e-4, 0.02, 50)
    _, path = converted("kl", tmp_path, scale_factor=0.3, betas=betas)
    prior = LatentPrior.from_pretrained(path)
    assert prior.scaling_factor == pytest.approx(0.3) and len(prior.schedule) == 50
    assert prior.schedule.alpha(49) ** 2 == pytest.approx(float((1 - betas.double()).prod()), rel=1e-4)


def test_a_scale_factor_that_only_the_yaml_has_is_given(tmp_path, capsys):
    """Never 1 in silence, of a Gaussian autoencoder; a quantised one has 1."""
    _, path = converted("kl", tmp_path, "--scale-factor", "0.18215")
    assert LatentPrior.from_pretrained(path).scaling_factor == pytest.approx(0.18215)
    capsys.readouterr()
    again = [str(tmp_path / "model.ckpt"), str(tmp_path / "new"), "--image-size", "16", *HEADS["kl"]]
    for options, sentence in (
        ([], "is Gaussian (KL), and the scale_factor of its latents is not among the tensors; give --scale-factor"),
        ([], "the number under model.params.scale_factor in its YAML"),
        (["--scale-factor", "0"], "scale_factor must be a finite number > 0, got 0.0"),
    ):
        assert convert_checkpoint.main([*again, *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and sentence in err and len(err.splitlines()) == 1 and not (tmp_path / "new").exists()
    (tmp_path / "vq").mkdir()
    _, path = converted("unconditional", tmp_path / "vq")
    assert LatentPrior.from_pretrained(path).scaling_factor == 1


PUBLISHED = {
    "ffhq256": (
        FFHQ_LDM, 274.06, {
            "model.diffusion_model.time_embed.0.weight": (896, 224),
            "model.diffusion_model.input_blocks.3.0.op.weight": (224, 224, 3, 3),
            "model.diffusion_model.input_blocks.4.1.qkv.weight": (1344, 448, 1),
            "model.diffusion_model.output_blocks.2.2.conv.weight": (896, 896, 3, 3),
            "model.diffusion_model.output_blocks.11.0.skip_connection.weight": (224, 448, 1, 1),
            "first_stage_model.encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
            "first_stage_model.decoder.up.2.upsample.conv.weight": (512, 512, 3, 3),
            "first_stage_model.encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
            "first_stage_model.quantize.embedding.weight": (8192, 3),
        },
    ),
    "cin256-v2": (
        CIN256_V2, 400.92, {
            "model.diffusion_model.input_blocks.4.1.proj_in.weight": (384, 384, 1, 1),
            "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (960, 512),
            "model.diffusion_model.output_blocks.0.1.transformer_blocks.0.ff.net.0.proj.weight": (7680, 960),
            "cond_stage_model.embedding.weight": (1001, 512),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes(name):
    """At full width on the meta device: names and shapes of the published files, the millions of parameters that their
    code prints, and a place for every tensor without a flag of ours."""
    flags, millions, known = PUBLISHED[name]
    with torch.device("meta"):
        model = LatentDiffusion(**flags)
    state = model.state_dict()
    assert {key: tuple(state[key].shape) for key in known} == known
    unet, autoencoder, scheduler = latent_diffusion(state)
    assert round(sum(p.numel() for p in model.model.parameters()) / 1e6, 2) == millions
    table = flags.get("classes", 0) * 512
    own = sum(p.numel() for p in unet.parameters()) - (table + 512 if table else 0)
    assert own == sum(p.numel() for p in model.model.parameters())
    assert round(sum(p.numel() for p in autoencoder.parameters()) / 1e6, 2) == 55.32
    assert unet.config.sample_size == 64 and autoencoder.config.sample_size == 256
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.0015, 0.0195)
    heads = [layer.heads for layer in unet.modules() if type(layer).__name__ == "Attention"]
    widths = [layer.inner_dim for layer in unet.modules() if type(layer).__name__ == "Attention"]
    assert heads == [1 if table else width // 32 for width in widths]


def spoilt(kind: str, path: Path) -> None:
    """Write an unusable checkpoint."""
    model = random_model(TINY_LDM)
    state = model.state_dict()
    if kind == "code":
        torch.save({"state_dict": state, "callbacks": Malicious(path.with_suffix(".ran"))}, path)
    elif kind == "no autoencoder":
        torch.save({k: v for k, v in state.items() if not k.startswith("first")}, path)
    elif kind == "half an autoencoder":
        torch.save({k: v for k, v in state.items() if "decoder.up.0" not in k}, path)
    elif kind == "texts":
        state = random_model(TINY_CLASSES).state_dict()
        del state["cond_stage_model.embedding.weight"]
        torch.save({"state_dict": state}, path)
    elif kind == "stable diffusion":
        torch.save({"state_dict": state | {"cond_stage_model.transformer.text_model.a": torch.zeros(1)}}, path)
    elif kind == "upscaler":
        conv = "model.diffusion_model.input_blocks.0.0.weight"
        torch.save({"state_dict": state | {conv: torch.zeros(32, 6, 3, 3)}}, path)
    elif kind == "averages of another":
        torch.save({"state_dict": state | {"model_ema.decay": torch.tensor(0.9)}}, path)


SPOILT = {
    "code": "contains more than tensors (posix.mkdir), which could run code and is refused",
    "no autoencoder": "the levels of its autoencoder are not equally deep; it is incomplete",
    "half an autoencoder": "for decoder.up_blocks.1.resnets.0.norm1.weight it has nothing",
    "texts": "it is not conditioned on classes; a model conditioned on texts must be in diffusers format",
    "stable diffusion": "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)",
    "upscaler": "it maps 6 channels to 3, but a prior maps 3 to as many",
    "averages of another": "it has no moving average of time_embed.0.weight",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_an_unusable_checkpoint_is_one_sentence(kind, tmp_path, capsys):
    path = tmp_path / "model.ckpt"
    spoilt(kind, path)
    heads = HEADS["classes" if kind == "texts" else "unconditional"]
    assert convert_checkpoint.main([str(path), str(tmp_path / "ldm"), "--image-size", "16", *heads]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: {path} ") and len(err.splitlines()) == 1 and SPOILT[kind] in err
    assert not (tmp_path / "ldm").exists() and not path.with_suffix(".ran").exists()


def test_lightning_is_neither_imported_nor_run(tmp_path):
    """The class of a callback stays a name; other values of the file are not handed on."""
    model = random_model(TINY_LDM)
    save_ckpt(model, tmp_path / "model.ckpt")
    state = read_tensors(tmp_path / "model.ckpt")
    assert set(model.state_dict()) < set(state) and "callbacks" not in state
    with pytest.raises(Unfit, match=r"not a published one; give head_channels .* or num_heads"):
        latent_diffusion(state, image_size=16)


def test_the_wrong_class_for_a_folder_is_one_sentence(tmp_path):
    _, path = converted("classes", tmp_path)
    with pytest.raises(
        ValueError, match=r"it is conditioned on texts; use rps.priors.StableDiffusionPrior.from_pretrained"
    ):
        LatentPrior.from_pretrained(save_stable_diffusion(tmp_path / "sd"))
    with pytest.raises(ValueError, match=r"it is conditioned on classes; use rps.priors.LatentPrior.from_pretrained"):
        StableDiffusionPrior.from_pretrained(path)
