"""Training, resuming, exporting and evaluating the embedded prior, on a handful of synthetic images."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import train_prior
import training

CHANNELS = (32, 32, 32)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32), dtype=np.uint8)


def fit(images, folder, steps, classes=None):
    module = train_prior.PriorTraining(CHANNELS, classes, max_steps=steps)
    labels = torch.arange(len(images)) % train_prior.CLASSES
    training.fit(module, TensorDataset(training.to_float(images), labels), folder, 4, every=1, progress=False)
    return torch.load(folder / "last.ckpt", weights_only=True)


def test_train_resume_export_evaluate(images, tmp_path):
    from diffusers import DDPMPipeline

    assert fit(images, tmp_path / "run", 2)["global_step"] == 2
    state = fit(images, tmp_path / "run", 3)
    assert state["global_step"] == 3
    assert state["prior"]["anchor"]["steps"] == 2  # the new budget starts where the old run stopped

    train_prior.export(tmp_path / "run/last.ckpt", tmp_path / "out")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    weight = state["state_dict"]["unet.conv_in.weight"]
    torch.testing.assert_close(pipeline.unet.conv_in.weight.float(), weight.half().float())

    rows = train_prior.band_losses(pipeline.unet.float(), images)
    assert len(rows) == len(train_prior.BANDS)
    assert all(0 < row["loss"] < 10 and row["standard_error"] > 0 for row in rows.values())


def test_a_conditional_network_learns_its_table_and_is_exported_with_it(images, tmp_path):
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    initial = train_prior.PriorTraining(CHANNELS, 11).state_dict()[train_prior.TABLE]
    torch.manual_seed(0)
    trained = fit(images, tmp_path / "run", 2, 11)["state_dict"][train_prior.TABLE]
    assert (trained - initial).abs().max() > 1e-6  # weight decay alone gives 1e-7
    train_prior.export(tmp_path / "run/last.ckpt", tmp_path / "out")
    unet = UNet2DModel.from_pretrained(tmp_path / "out/unet").float()
    assert unet.config.num_class_embeds == 11
    losses = [train_prior.band_losses(unet, images, torch.full((16,), label)) for label in (0, 10)]
    assert losses[0] != losses[1]
    with pytest.raises(ValueError, match="network has classes, expected none; add --conditional, or give another"):
        fit(images, tmp_path / "run", 4)


def test_a_tenth_of_the_labels_become_the_last_class():
    module = train_prior.PriorTraining(CHANNELS, 11)
    torch.manual_seed(0)
    labels = torch.arange(10000) % 10
    (given,) = module.condition([torch.zeros(10000), labels])
    dropped = given == 10
    assert torch.equal(given[~dropped], labels[~dropped])
    assert abs(dropped.float().mean() - 0.1) < 4 * (0.1 * 0.9 / 10000) ** 0.5
    assert train_prior.PriorTraining(CHANNELS).condition([torch.zeros(1), labels]) == []


def test_averages_follow_the_formula():
    averages, current = [torch.zeros(2), torch.ones(3)], [torch.ones(2), torch.full((3,), 3.0)]
    for updates, d in ((8, 0.5), (10**6, 0.999)):
        expected = [d * a + (1 - d) * c for a, c in zip(averages, current, strict=True)]
        training.ema_update(averages, current, torch.tensor(updates))
        torch.testing.assert_close(averages, expected)


def test_checkpoint_keeps_the_average_beside_the_current_weights(images, tmp_path):
    fit(images, tmp_path, 3)
    module = train_prior.PriorTraining(CHANNELS, max_steps=3)
    assert module.state_dict().keys() == torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"].keys()


def test_learning_rate_reaches_zero_at_the_end_of_a_shortened_budget(monkeypatch):
    module = train_prior.PriorTraining(CHANNELS, max_steps=1000)
    saved = {"channels": list(CHANNELS), "budget": {"steps": 5000, "minutes": float("inf")},
             "anchor": {"steps": 0, "minutes": 0.0, "factor": 1.0}, "minutes": 5.0, "factor": 0.8}  # fmt: skip
    module.on_load_checkpoint({"prior": saved, "global_step": 600, "state_dict": {}})
    factors = []
    for step in (600, 800, 1000):
        monkeypatch.setattr(train_prior.PriorTraining, "global_step", step)
        factors.append(module.cosine())
    assert factors == pytest.approx([0.8, 0.4, 0.0])


def test_stratified_timesteps_put_one_in_each_bin():
    t = train_prior.stratified_timesteps(10).sort().values
    assert (t // 100).tolist() == list(range(10))


def test_export_without_a_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `train` first"):
        train_prior.export(tmp_path / "none.ckpt", tmp_path / "out")
