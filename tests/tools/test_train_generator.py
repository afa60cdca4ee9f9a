"""Training, resuming and exporting networks for a task, on a handful of synthetic images."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import train_generator

CHANNELS = (8, 8, 8)


@pytest.fixture
def images():
    return torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def build(method, task, steps):
    torch.manual_seed(0)
    return train_generator.METHODS[method](task, CHANNELS, max_steps=steps)


def fit(method, task, images, folder, steps):
    module = build(method, task, steps)
    train_generator.fit(module, TensorDataset(images), folder / task, 4, every=1, progress=False)
    return torch.load(folder / task / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(("method", "task"), [("generator", "inpaint"), ("pmrf", "sr4")])
def test_train_resume_export(method, task, images, tmp_path, monkeypatch):
    from rps import degrade, operators
    from rps.priors import EmbeddedGenerator, EmbeddedPmrf, generator

    first = fit(method, task, images, tmp_path / "run", 1)
    state = fit(method, task, images, tmp_path / "run", 2)
    assert (first["global_step"], state["global_step"]) == (1, 2)  # a step of the critic is none
    fresh = build(method, task, 1).state_dict()
    changed = {key.partition(".")[0] for key, weight in first["state_dict"].items() if (weight != fresh[key]).any()}
    assert changed == {"generator": {"generator", "critic"}, "pmrf": {"regressor", "flow"}}[method]

    train_generator.main(
        ["export", method, task, "--folder", str(tmp_path / "run"), "--output", str(tmp_path / "assets")]
    )
    monkeypatch.setattr(generator, "EMBEDDED", tmp_path / "assets")
    prior = {"generator": EmbeddedGenerator, "pmrf": EmbeddedPmrf}[method](task)
    network, name = (prior.network, "generator") if method == "generator" else (prior.regressor, "regressor")
    weight = state["state_dict"][f"{name}.conv_in.weight"]
    torch.testing.assert_close(network.conv_in.weight, weight.half().float())
    bound = prior.given(degrade(images, operators.Inpaint(0.3) if task == "inpaint" else operators.Denoise(), 0.1))
    restored = bound.denoise(torch.zeros_like(images), torch.full((8,), len(prior.schedule) - 1)).x0
    assert restored.shape == images.shape and restored.isfinite().all()


@pytest.mark.parametrize("task", train_generator.TASKS)
def test_every_image_and_every_step_has_its_own_measurement(task, images):
    module = train_generator.PmrfTraining(task, CHANNELS)
    same = [images[:1].expand(64, -1, -1, -1)]
    (x, seen), (_, again) = module.draw(same), module.draw(same)
    flipped = (x != images[0]).flatten(1).any(1)
    assert 16 < flipped.sum() < 48  # 4 standard deviations of a fair coin
    assert seen.shape == (64, 2, 32, 32)
    if task == "inpaint":
        masks = torch.cat([seen, again])[:, 1].flatten(1)
        assert len(masks.unique(dim=0)) == 128 and (masks.sum(1) == round(0.3 * 1024)).all()
    if task == "denoise":
        noise = seen[:, :1] - x
        assert abs(noise.std() / 0.5 - 1) < 4 / (2 * noise.numel()) ** 0.5


def test_export_without_a_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `train` first"):
        train_generator.main(["export", "pmrf", "sr4", "--folder", str(tmp_path)])
