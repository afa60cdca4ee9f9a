"""DiffusersPrior on tiny networks in the real on-disk format."""

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
    with pytest.raises(ValueError, match="cannot load UNet2DModel") as told:
        DiffusersPrior.from_pretrained(str(tmp_path))
    assert "\n" not in str(told.value)
    with pytest.raises(FileNotFoundError, match=r"is a file; a \.pt file goes to rps\.priors\.GuidedDiffusionPrior"):
        DiffusersPrior.from_pretrained(str(weights))
    with pytest.raises(ValueError, match="dtype must be one of"):
        DiffusersPrior.from_pretrained(str(tmp_path), dtype="int8")


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
