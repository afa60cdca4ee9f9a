"""DiffusersPrior on tiny networks in the real on-disk format."""

import json
import re

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from rps.priors import DiffusersPrior, EmbeddedPrior


def tiny_unet(out_channels: int = 1) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8, in_channels=1, out_channels=out_channels, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), norm_num_groups=4,
    )  # fmt: skip


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_agrees_with_the_scheduler_of_diffusers(prediction_type):
    """x0hat is what DDIM in diffusers calls pred_original_sample."""
    unet = tiny_unet()
    scheduler = DDIMScheduler(prediction_type=prediction_type, clip_sample=False)
    scheduler.set_timesteps(1000)
    prior = DiffusersPrior(unet, scheduler)
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 700])
    denoised = prior.denoise(x, t)
    for row in range(2):
        with torch.no_grad():
            output = unet(x[row : row + 1], t[row]).sample
        expected = scheduler.step(output, int(t[row]), x[row : row + 1]).pred_original_sample
        torch.testing.assert_close(denoised.x0[row : row + 1], expected, atol=1e-4, rtol=1e-4)
    alpha, sigma = prior.schedule.at(t, x)
    torch.testing.assert_close(alpha * denoised.x0 + sigma * denoised.eps, x, atol=1e-5, rtol=1e-5)


def test_learned_variance_agrees_with_the_scheduler_of_diffusers():
    """The reverse standard deviation of a six-channel-style network is that of DDPMScheduler(learned_range)."""
    unet = tiny_unet(out_channels=2)
    scheduler = DDPMScheduler(variance_type="learned_range")
    prior = DiffusersPrior(unet, scheduler)
    x, t = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    denoised = prior.denoise(x, t)
    with torch.no_grad():
        raw = unet(x, t).sample[:, 1:]
    expected = torch.exp(0.5 * scheduler._get_variance(500, predicted_variance=raw, variance_type="learned_range"))
    std = prior.schedule.reverse_std(t, t - 1, x, denoised.variance_fraction)
    torch.testing.assert_close(std, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("layout", ["pipeline", "flat"])
def test_from_pretrained(tmp_path, layout):
    unet, scheduler = tiny_unet(), DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    if layout == "pipeline":
        DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path)
    else:
        unet.save_pretrained(tmp_path)
        scheduler.save_pretrained(tmp_path)
    prior = DiffusersPrior.from_pretrained(str(tmp_path))
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([10])
    torch.testing.assert_close(prior.denoise(x, t).eps, unet(x, t).sample)
    torch.testing.assert_close(prior.schedule.alpha_table[:-1] ** 2, scheduler.alphas_cumprod.double())


def test_half_precision_weights_give_float32_results(tmp_path):
    DDPMPipeline(unet=tiny_unet(), scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    prior = DiffusersPrior.from_pretrained(str(tmp_path), dtype="bfloat16")
    assert prior.denoise(torch.zeros(1, 1, 8, 8), torch.tensor([10])).x0.dtype == torch.float32


def test_unusable_models_are_told_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a folder nor a hub id"):
        DiffusersPrior.from_pretrained("./nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no unet/config\.json"):
        DiffusersPrior.from_pretrained(str(tmp_path))
    DDPMPipeline(unet=tiny_unet(), scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot load UNet2DModel") as message:
        DiffusersPrior.from_pretrained(str(tmp_path))
    assert "\n" not in str(message.value)
    with pytest.raises(FileNotFoundError, match=r"is a file, .* use rps\.priors\.GuidedDiffusionPrior"):
        DiffusersPrior.from_pretrained(str(weights))
    with pytest.raises(ValueError, match="dtype must be one of"):
        DiffusersPrior.from_pretrained(str(tmp_path), dtype="int8")


def sized(sample_size, levels: int = 2, **more) -> UNet2DModel:
    return UNet2DModel(
        sample_size=sample_size, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8,) * levels,
        down_block_types=("DownBlock2D",) * levels, up_block_types=("UpBlock2D",) * levels, norm_num_groups=4, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sample_size", "image_size", "side"),
    [(8, None, 8), ([8, 8], None, 8), ((8, 8), 4, 4), (None, 8, 8), ([8, 4], 8, 8), (7, 8, 8), (8, 16, 16)],
)
def test_the_size_is_that_of_the_config_or_the_given_one(sample_size, image_size, side):
    prior = DiffusersPrior(sized(sample_size), DDPMScheduler(), image_size=image_size)
    assert prior.sample_shape == prior.image_shape == (1, side, side)
    assert prior.denoise(torch.zeros(1, *prior.sample_shape), torch.tensor([5])).x0.shape == (1, 1, side, side)


@pytest.mark.parametrize(
    ("sample_size", "image_size", "levels", "sentence"),
    [
        (None, None, 2, "the UNet's config has sample_size None, expected one number; give image_size"),
        ([8, 4], None, 2, r"the UNet's config has sample_size \[8, 4\], expected one number; give image_size"),
        (28, None, 4, "has sample_size 28, expected a multiple of 8 for its levels; give image_size, a multiple of 8"),
        (0, None, 2, "has sample_size 0, expected a multiple of 2"),
        (8, 28, 4, "image_size must be a multiple of 8 for this network, got 28"),
        (8, 0, 2, "image_size must be a multiple of 2 for this network, got 0"),
        (-1, None, 1, "has sample_size -1, expected a multiple of 1"),
        (10**6, None, 2, "has sample_size 1000000, expected .* at most 16384"),
        (8, 10**6, 2, "got 1000000 .at most 16384."),
    ],
)
def test_a_size_that_cannot_be_is_one_sentence(sample_size, image_size, levels, sentence):
    with pytest.raises(ValueError, match=sentence):
        DiffusersPrior(sized(sample_size, levels), DDPMScheduler(), image_size=image_size)


@pytest.mark.parametrize("number", [10**9, 0, -5, 1.5, "many"])
def test_a_scheduler_config_cannot_ask_for_a_table_of_gigabytes(number, tmp_path):
    DDPMPipeline(unet=sized(8), scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    place = tmp_path / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "num_train_timesteps": number}))
    with pytest.raises(ValueError, match=r"has num_train_timesteps .*, expected an integer between 1 and 1,000,000"):
        DiffusersPrior.from_pretrained(str(tmp_path))


def test_the_size_of_a_saved_model_can_be_given(tmp_path):
    DDPMPipeline(unet=sized(None), scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    assert DiffusersPrior.from_pretrained(str(tmp_path), image_size=16).sample_shape == (1, 16, 16)


@pytest.mark.parametrize("kind", ["timestep", "identity"])
def test_classes_that_are_no_table_are_refused(kind):
    with pytest.raises(ValueError, match=f"the UNet's config has class_embed_type '{kind}', which is not supported"):
        DiffusersPrior(sized(8, class_embed_type=kind), DDPMScheduler())
    with pytest.raises(ValueError, match="class_embed_type"):
        DiffusersPrior(sized(8, class_embed_type=kind, num_class_embeds=5), DDPMScheduler(), class_label=1)


WEIGHTS = {
    "fp16": {"variant": "fp16"},
    "bf16": {"variant": "bf16"},
    "fp16 pickle": {"variant": "fp16", "safe_serialization": False},
    "shards": {"max_shard_size": "20KB"},
    "fp16 shards": {"variant": "fp16", "max_shard_size": "20KB"},
}


@pytest.mark.parametrize("kind", [*WEIGHTS, "fp16 shards of old names", "fp16 beside a whole checkpoint"])
@torch.no_grad()
def test_weights_in_half_precision_or_in_shards_are_found(kind, tmp_path, capfd):
    unet, x, t = sized(8), torch.randn(1, 1, 8, 8), torch.tensor([10])
    folder = tmp_path / "unet"
    unet.save_pretrained(folder, **WEIGHTS.get(kind, WEIGHTS["fp16 shards"]))
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    if kind == "fp16 shards of old names":
        index = folder / "diffusion_pytorch_model.safetensors.index.fp16.json"
        index.write_text(re.sub(r"\.fp16(-\d+-of-\d+)\.", r"\1.fp16.", index.read_text()))
        for file in folder.glob("*-of-*"):
            file.rename(file.with_name(re.sub(r"\.fp16(-\d+-of-\d+)\.", r"\1.fp16.", file.name)))
    elif kind == "fp16 beside a whole checkpoint":  # as in repositories of Stable Diffusion
        (tmp_path / "v1-5-pruned.safetensors").write_bytes(b"")
    assert (len(list(folder.glob("*-of-*"))) > 1) == ("shards" in kind or "beside" in kind)
    capfd.readouterr()
    prior = DiffusersPrior.from_pretrained(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    torch.testing.assert_close(prior.denoise(x, t).eps, unet(x, t).sample)


def test_whole_weights_are_taken_where_there_are_both(tmp_path):
    DDPMPipeline(unet=sized(8), scheduler=DDPMScheduler()).save_pretrained(tmp_path)
    (tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"nothing")
    DiffusersPrior.from_pretrained(str(tmp_path))


def test_embedded_prior_is_small_and_denoises():
    prior = EmbeddedPrior()
    assert sum(p.numel() for p in prior.parameters()) <= 2_500_000
    assert prior.sample_shape == (1, 32, 32)
    black = -torch.ones(4, 1, 32, 32)
    t = torch.full((4,), 50)
    noisy = prior.schedule.add_noise(black, torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)), t)
    assert (prior.denoise(noisy, t).x0 - black).square().mean() < 0.1 * (noisy - black).square().mean()


def test_a_hub_that_cannot_be_reached_is_named_as_such():
    """Not as a model without config.json, which is what diffusers says."""
    with pytest.raises(OSError, match="not in the local cache, and the Hugging Face hub could not be reached"):
        DiffusersPrior.from_pretrained("nobody/nothing", local_files_only=True)
