"""Training, resuming and exporting the embedded latent prior, on a handful of synthetic images."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import train_latent

CHANNELS = (8, 8, 8)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)


def test_train_resume_export(images, tmp_path):
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel

    options = {"batch_size": 4, "every": 1, "progress": False}
    module = train_latent.AutoencoderTraining(CHANNELS, max_steps=1)
    train_latent.fit(module, TensorDataset(train_latent.to_float(images)), tmp_path / "autoencoder", **options)
    last = tmp_path / "autoencoder/last.ckpt"

    for steps in (1, 2):
        module = train_latent.LatentTraining((32, 32), max_steps=steps)
        train_latent.train_unet(images, last, tmp_path / "unet", module, **options)
    assert torch.load(tmp_path / "unet/last.ckpt", weights_only=True)["global_step"] == 2

    out = tmp_path / "out"
    train_latent.export(last, tmp_path / "unet", out)
    vae, unet = AutoencoderKL.from_pretrained(out / "vae"), UNet2DModel.from_pretrained(out / "unet")
    scheduler = DDPMScheduler.from_pretrained(out / "scheduler")
    assert unet.config.in_channels == vae.config.latent_channels == 4
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert json.loads((out / "model_index.json").read_text())["vae"] == ["diffusers", "AutoencoderKL"]

    x = train_latent.to_float(images)
    z = torch.cat([train_latent.latents(train_latent.load_vae(last), v) for v in (x, x.flip(-1))])
    assert float((z * vae.config.scaling_factor).std()) == pytest.approx(1, abs=1e-3)
    assert 0 < train_latent.reconstruction_rmse(vae.float(), images) < 1


def test_the_flipped_half_of_a_batch_are_latents_of_flipped_images():
    module = train_latent.LatentTraining((32, 32))
    z, flipped = torch.zeros(64, *train_latent.LATENT), torch.ones(64, *train_latent.LATENT)
    torch.manual_seed(0)
    drawn = module.draw([z, flipped]).flatten(1)
    assert (drawn == drawn[:, :1]).all() and 16 < drawn[:, 0].sum() < 48


def test_the_unet_without_an_autoencoder_says_what_to_do(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="run `autoencoder` first"):
        train_latent.train_unet(images, tmp_path / "none.ckpt", tmp_path, train_latent.LatentTraining((32, 32)))
