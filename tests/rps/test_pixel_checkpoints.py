"""`rps predict` with a checkpoint of every kind on disk, loaded by its path: tiny networks with random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from PIL import Image

from rps.cli import main
from rps.priors.loading import load_network
from tests.rps.guided_unet import IMAGENET_128, TINY, narrow, network
from tests.rps.test_guided_diffusion import convert_checkpoint, spoilt

FOLDER = "rps.priors.DiffusersPrior.from_pretrained"
GUIDED = "rps.priors.GuidedDiffusionPrior"


def unet(**changes) -> UNet2DModel:
    torch.manual_seed(0)
    settings = {
        "sample_size": 16, "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "block_out_channels": (32, 32),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return UNet2DModel(**settings | changes)


def write(kind: str, path: Path) -> None:
    """A checkpoint in the format in which its kind is published."""
    if kind == "guided":
        torch.save(network(TINY).state_dict(), path)
    elif kind == "guided heads":
        flags = narrow(IMAGENET_128, head_channels=None) | {"mults": (1, 2, 3), "attention": (1, 2), "blocks": 1}
        torch.save(network(flags | {"classes": None}).state_dict(), path)
    elif kind == "converted":
        torch.save(network(TINY).state_dict(), path.with_suffix(".pt"))
        assert convert_checkpoint.main([f"{path}.pt", str(path), "--head-channels", "32"]) == 0
    elif kind == "guided classes":
        torch.save(network(TINY | {"classes": 10}).state_dict(), path)
    elif kind == "ddpm":
        DDPMPipeline(unet(), DDPMScheduler()).save_pretrained(path)
    elif kind.startswith("zero snr"):
        unet().save_pretrained(path / "unet")
        prediction = "epsilon" if kind == "zero snr eps" else "v_prediction"
        DDIMScheduler(rescale_betas_zero_snr=True, prediction_type=prediction).save_pretrained(path / "scheduler")
    elif kind == "consistency":
        net = unet(
            num_class_embeds=10, resnet_time_scale_shift="scale_shift", downsample_type="resnet",
            upsample_type="resnet", attn_norm_num_groups=32,
            down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        )  # fmt: skip
        ConsistencyModelPipeline(net, CMStochasticIterativeScheduler()).save_pretrained(path)
    else:
        scheduler = EDMEulerScheduler() if kind == "edm" else FlowMatchEulerDiscreteScheduler(shift=2.0)
        unet().save_pretrained(path / "unet")
        scheduler.save_pretrained(path / "scheduler")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with two pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    numbers = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(f"pictures/{name}.png")
    return tmp_path


def predict(*arguments: str) -> int:
    small = ["--model.estimator.num_steps", "2", "--model.estimator.t1", "5", "--model.steps", "4"]
    small += ["--data.folder", "pictures", "--trainer.accelerator", "cpu", "--output", "run"]
    return main(["predict", "--config", "photos", *arguments, *small])


CHECKPOINTS = {
    "guided": [GUIDED, "--model.prior.head_channels", "32"],
    "guided classes": [GUIDED, "--model.prior.head_channels", "32", "--model.prior.class_label", "3"],
    "guided heads": [GUIDED, "--model.prior.num_heads", "4", "--model.prior.image_size", "16"],
    "converted": [FOLDER],
    "ddpm": [FOLDER],
    "zero snr v": [FOLDER],
    "edm": [FOLDER],
    "consistency": [FOLDER, "--model.prior.class_label", "3"],
    "flow": [FOLDER],
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_every_kind_of_checkpoint_restores(kind, here):
    """All of its noise levels are used, from T on; network calls are counted; the images are saved."""
    write(kind, here / "checkpoint")
    last = 40 if kind == "consistency" else 1000
    levels = ["--model.t0", f"[0,{last // 4},{last}]"]
    assert predict("--model.prior", *CHECKPOINTS[kind], "--model.prior.path", "checkpoint", *levels) == 0
    reported = json.loads(Path("run/metrics.json").read_text())["levels"]
    assert [(level["level"], level["n"], level["failed"]) for level in reported] == [
        (0, 2, 0), (last // 4, 2, 0), (last, 2, 0),
    ]  # fmt: skip
    assert reported[2]["network_calls_per_image"] == 6
    assert all(np.isfinite(level["metrics"]["rmse"]["mean"]) for level in reported)
    assert len(list(Path("run/images").glob("*/a.png"))) >= 3


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("ffhq", "guided", ["--model.prior.head_channels", "32"]),
        ("imagenet256", "guided classes", ["--model.prior.head_channels", "32", "--model.prior.class_label", "1"]),
        ("imagenet64", "guided classes", ["--model.prior.head_channels", "32", "--model.prior.class_label", "1"]),
        ("consistency", "consistency", ["--model.prior.class_label", "1"]),
        ("edm", "edm", []),
        ("flow_matching", "flow", []),
    ],
)
def test_packaged_configs_of_priors(name, kind, options, here):
    """Each merges into photos.yaml and needs the path alone; its own levels are kept."""
    write(kind, here / "checkpoint")
    assert predict("--config", f"prior/{name}", "--model.prior.path", "checkpoint", *options) == 0
    assert len(json.loads(Path("run/metrics.json").read_text())["levels"]) == 3


def bad(kind: str, path: Path) -> str:
    """Write an unusable checkpoint.  -> the class that is asked to read it."""
    if kind == "code":
        spoilt(kind, path)
        return GUIDED
    write("edm", path)
    weights, config = path / "unet/diffusion_pytorch_model.safetensors", path / "scheduler/scheduler_config.json"
    if kind == "folder with a pickle":
        weights.unlink()
        spoilt("code", path / "unet/diffusion_pytorch_model.bin")
    elif kind == "folder that lacks a tensor":
        from safetensors.torch import load_file, save_file

        state = load_file(weights)
        save_file({name: value for name, value in state.items() if name != "conv_out.bias"}, weights, {"format": "pt"})
    elif kind == "folder of another scheduler":
        config.write_text(json.dumps({"_class_name": "ScoreSdeVeScheduler", "num_train_timesteps": 2000}))
    elif kind == "folder of an unknown scheduler":
        config.write_text(json.dumps({"_class_name": "os.system"}))
    elif kind == "folder of no size":
        UNet2DModel.from_config(unet().config, sample_size=None).save_pretrained(path / "unet")
    return FOLDER


BAD = {
    "code": "could run code and is refused",
    "folder with a pickle": "could run code and is refused",
    "folder that lacks a tensor": "'checkpoint' lacks 1 of the tensors of its unet, e.g. conv_out.bias",
    "folder of another scheduler": "ScoreSdeVeScheduler has no alphas_cumprod",
    "folder of an unknown scheduler": "its scheduler config names 'os.system', which is not a scheduler of diffusers",
    "folder of no size": "the UNet's config has sample_size None, expected one number; give image_size",
}


@pytest.mark.parametrize("kind", BAD)
def test_an_unusable_checkpoint_is_one_sentence(kind, here, capfd):
    """What else is refused is in test_guided_diffusion.py and test_diffusers_prior.py."""
    reader = bad(kind, here / "checkpoint")
    assert predict("--model.prior", reader, "--model.prior.path", "checkpoint") == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("rps: error: ") and len(err.splitlines()) == 1 and BAD[kind] in err
    assert not Path("run").exists() and not list(here.rglob("*.ran"))


def test_zero_snr_of_a_network_that_predicts_eps_is_known_before_anything_is_computed(here, capfd):
    """The last timestep is refused, and the one before is the first that samples."""
    write("zero snr eps", here / "checkpoint")
    arguments = ["--model.prior", FOLDER, "--model.prior.path", "checkpoint", "--model.t0"]
    assert predict(*arguments, "[0,1000]") == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith(
        "rps: error: t0 must be between 0 and the number of timesteps 999, got 1000; from"
    )
    assert "has alpha = 0 (zero SNR)" in err and len(err.splitlines()) == 1 and not Path("run").exists()
    assert predict(*arguments, "[0,999]") == 0
    levels = json.loads(Path("run/metrics.json").read_text())["levels"]
    assert [(level["n"], level["failed"]) for level in levels] == [(2, 0), (2, 0)]
    assert all(np.isfinite(level["metrics"]["rmse"]["mean"]) for level in levels)


def test_the_size_of_a_folder_can_be_given(here):
    write("ddpm", here / "checkpoint")
    UNet2DModel.from_config(unet().config, sample_size=None).save_pretrained(here / "checkpoint/unet")
    arguments = ["--model.prior", FOLDER, "--model.prior.path", "checkpoint", "--model.prior.image_size", "16"]
    assert predict(*arguments, "--model.t0", "[0]") == 0


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("block_out_channels", [8192, 8192], "parameters, but its weights are"),
        ("layers_per_block", 10**9, "has layers_per_block 1000000000, expected at most 1000"),
        ("cross_attention_dim", 10**8, "parameters, but its weights are"),
    ],
)
def test_a_config_that_asks_for_more_than_its_weights_is_refused_before_memory_is_taken(
    name, value, expected, tmp_path, monkeypatch
):
    settings = {"cross_attention_dim": 8, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    settings |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "attention_head_dim": 8}
    shape = {"sample_size": 16, "layers_per_block": 1, "block_out_channels": (32, 32)}
    network = UNet2DConditionModel(**settings | shape) if name in settings else unet()
    network.save_pretrained(tmp_path / "unet")
    kind = type(network)
    load_network(kind, str(tmp_path), "unet", "float32")  # as it was saved
    config = tmp_path / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {name: value}))
    monkeypatch.setattr(kind, "from_pretrained", lambda *args, **options: pytest.fail("memory is taken"))
    with pytest.raises(ValueError, match=expected):
        load_network(kind, str(tmp_path), "unet", "float32")
