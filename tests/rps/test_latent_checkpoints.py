"""`rps predict` with a latent model of every kind on disk, loaded by its path: tiny networks with random weights."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rps.cli import main
from rps.priors import StableDiffusionPrior
from tests.rps.compvis_networks import TINY_CLASSES, TINY_LDM, random_model, save_ckpt
from tests.rps.guided_unet import TINY, network
from tests.rps.latent_models import save_ldm, save_stable_diffusion, unet, vae

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import convert_checkpoint

LDM, SD = "rps.priors.LatentPrior.from_pretrained", "rps.priors.StableDiffusionPrior.from_pretrained"


def write(kind: str, path: Path) -> None:
    """A model in the format in which its kind is published; .ckpt files are converted as a user does it."""
    if kind in ("ldm ckpt", "ldm classes ckpt"):
        classes = kind != "ldm ckpt"
        save_ckpt(random_model(TINY_CLASSES if classes else TINY_LDM), path.with_suffix(".ckpt"))
        heads = ["--num-heads", "2"] if classes else ["--head-channels", "32"]
        assert convert_checkpoint.main([f"{path}.ckpt", str(path), "--image-size", "16", *heads]) == 0
    elif kind == "ldm vq":
        save_ldm(path)
    elif kind == "ldm kl classes":
        save_ldm(path, vae(), unet(num_class_embeds=5))
        (path / "vqvae").rename(path / "vae")
    else:
        save_stable_diffusion(path, kind == "sdxl", "v_prediction" if kind == "sd 2" else "epsilon")
    if kind == "sd 1 fp16":
        for file in path.glob("*/*.safetensors"):
            file.rename(file.with_suffix(".fp16.safetensors"))


KINDS = {
    "ldm vq": [LDM],
    "ldm kl classes": [LDM, "--model.prior.class_label", "2", "--model.prior.posterior", "sample"],
    "sd 2": [SD],
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with two pictures, their captions and their classes."""
    monkeypatch.chdir(tmp_path)
    numbers, rows = np.random.default_rng(0), []
    for name, label in (("a", 2), ("b", 4)):
        file = io.BytesIO()
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "png")
        picture = {"bytes": file.getvalue(), "path": f"{name}.png"}
        rows.append({"image": picture, "text": [f"a {name}", "b"], "label": label})
    pq.write_table(pa.Table.from_pylist(rows), "pictures.parquet")
    return tmp_path


DATA = ["--data", "datamodules.HuggingFace", "--data.path", "parquet", "--data.data_files", "pictures.parquet"]
CAPTIONS = ["--data.caption_column", "text"]
SMALL = ["--model.estimator.num_steps", "2", "--model.steps", "4", "--trainer.accelerator", "cpu", "--output", "run"]


def predict(*arguments: str, configs: tuple[str, ...] = ("method/ldm/sr4/lmap_rps",), data: tuple = ()) -> int:
    named = [part for name in ("photos", *configs) for part in ("--config", name)]
    return main(["predict", *named, *(data or [*DATA, *CAPTIONS]), *arguments, *SMALL])


def check(levels: list[int], calls: list[int]) -> None:
    """calls: 2 of stage 1, and of stage 2 as many as points of a grid of 4 lie below t0."""
    reported = json.loads(Path("run/metrics.json").read_text())["levels"]
    assert [(level["level"], level["n"], level["failed"]) for level in reported] == [(k, 2, 0) for k in levels]
    assert [level["network_calls_per_image"] for level in reported] == calls
    assert all(np.isfinite(level["metrics"]["rmse"]["mean"]) for level in reported)
    assert len(list(Path("run/images").glob("*/a.png"))) >= len(levels)


@pytest.mark.parametrize("kind", KINDS)
def test_latent_models_restore_from_t_on(kind, here):
    """In latent space; network calls are counted, two for one with guidance (1.5 unless given); the images are saved.
    The other kinds are restored with their packaged configs below."""
    write(kind, here / "model")
    assert predict("--model.prior", *KINDS[kind], "--model.prior.path", "model", "--model.t0", "[0,1000]") == 0
    check([0, 1000], [4, 12] if kind == "sd 2" else [2, 6])


def test_half_precision_files_on_the_hub_are_read_where_there_are_no_others(here, monkeypatch):
    """A repository in the local cache: unet, vae and text encoder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(here), raising=False)  # of transformers 4
    place = here / "models--some--one"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("0" * 40)
    write("sd 1 fp16", place / "snapshots" / ("0" * 40))
    prior = StableDiffusionPrior.from_pretrained("some/one", local_files_only=True, prompt="a")
    assert torch.isfinite(prior.denoise(torch.zeros(1, 4, 8, 8), torch.tensor([5])).x0).all()


@pytest.mark.parametrize(
    ("prior", "kind", "method", "options"),
    [
        ("ffhq_ldm", "ldm ckpt", "ldm/deblur_aniso", []),
        ("celebahq_ldm", "ldm vq", "ldm/inpaint", []),
        ("imagenet_ldm", "ldm classes ckpt", "ldm/inpaint", ["--model.prior.class_label", "2"]),
        ("sd15", "sd 1", "coco/sr4", ["--model.prior.dtype", "float32"]),
        ("sd21", "sd 2", "coco/hdr", ["--model.prior.dtype", "bfloat16"]),
        ("sdxl", "sdxl", "coco/cs2", ["--model.prior.dtype", "float32"]),
    ],
)
def test_packaged_configs_of_latent_priors(prior, kind, method, options, here):
    """Each merges with a task and the published method, and needs the path alone; its own levels are kept."""
    write(kind, here / "model")
    task = method.replace("ldm/", "") if method.startswith("ldm") else method
    configs = (f"method/{method}/lmap_rps", f"task/{task}", f"prior/{prior}")
    assert predict("--model.prior.path", "model", *options, configs=configs) == 0
    if method.startswith("coco"):
        check([0, 600], [4, 10])
    elif method == "ldm/inpaint":
        evaluations = 2 if prior == "imagenet_ldm" else 1  # g = 4
        check([0, 200, 400, 600, 800], [evaluations * calls for calls in (2, 3, 4, 5, 6)])
    else:
        check([0, 25, 50, 75, 100], [2, 3, 3, 3, 3])


def bad(kind: str, here: Path) -> list[str]:
    """Prepare a run that cannot be.  -> its arguments."""
    ldm = ["--model.prior", LDM, "--model.prior.path", "model"]
    sd = ["--model.prior", SD, "--model.prior.path", "model"]
    if kind == "ckpt as it is":
        save_ckpt(random_model(TINY_LDM), here / "model")
        return ldm
    if kind == "ckpt as a pixel model":
        save_ckpt(random_model(TINY_LDM), here / "model")
        return ["--model.prior", "rps.priors.GuidedDiffusionPrior", "--model.prior.path", "model"]
    if kind == "a single file":
        (here / "model").write_bytes(b"")
        return sd
    if kind in ("no captions", "text encoder of another", "long prompt", "no text encoder"):
        write("sd 1", here / "model")
        if kind == "text encoder of another":
            weights = (here / "model/vae/diffusion_pytorch_model.safetensors").read_bytes()
            (here / "model/text_encoder/model.safetensors").write_bytes(weights)
        if kind == "no text encoder":
            for name in ("config.json", "model.safetensors"):
                (here / "model/text_encoder" / name).unlink()
        if kind == "long prompt":
            return [*sd, "--model.prior.prompt", "a b c d e f g h i j k l m n"]
        return sd
    write("ldm classes ckpt" if "class" in kind else "ldm vq", here / "model")
    weights = here / "model/vqvae/diffusion_pytorch_model.safetensors"
    if kind == "truncated autoencoder":
        weights.write_bytes(weights.read_bytes()[:3000])
    elif kind == "autoencoder of another":
        weights.write_bytes((here / "model/unet/diffusion_pytorch_model.safetensors").read_bytes())
    return ldm


BAD = {
    "ckpt as it is": "convert a .ckpt of latent diffusion",
    "ckpt as a pixel model": "it is of latent diffusion; tools/convert_checkpoint.py converts it into a folder for",
    "truncated autoencoder": "cannot load VQModel from 'model'",
    "autoencoder of another": "of the tensors of its vqvae, e.g. ",
    "text encoder of another": "of the tensors of its text_encoder, e.g. ",
    "a single file": "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)",
    "no class": "have no labels; name their column (--data.label_column, of datamodules.HuggingFace) or give one",
    "no text encoder": "model has no text_encoder/config.json",
    "no captions": "the data have no captions; name their column (--data.caption_column",
    "long prompt": "'a b c d e f g h i j k l m n'... has 16 tokens, but the text encoder takes 12; shorten it",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_is_one_sentence(kind, here, capfd):
    arguments = bad(kind, here)
    capfd.readouterr()
    data = DATA if kind == "no captions" else [*DATA, *CAPTIONS]
    assert predict(*arguments, "--model.t0", "[0,1000]", data=tuple(data)) == 2
    out, err = capfd.readouterr()
    assert out == "" and BAD[kind] in err
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1
    assert not Path("run").exists()


def test_a_missing_caption_column_is_one_sentence(here, capfd):
    write("sd 1", here / "model")
    arguments = ["--model.prior", SD, "--model.prior.path", "model", "--data.caption_column", "caption"]
    assert predict(*arguments) == 2
    err = capfd.readouterr().err
    assert err.startswith("rps: error: ") and "has no column 'caption'; it has image, text, label" in err
    assert len(err.splitlines()) == 1


def test_a_caption_that_is_too_long_is_that_samples_failure(here, capfd):
    """The other one is restored, the exit code is 3, and the reason names the caption."""
    write("sd 1", here / "model")
    table = pq.read_table("pictures.parquet").to_pylist()
    table[1]["text"] = ["a b c d e f g h i j k l m n"]
    pq.write_table(pa.Table.from_pylist(table), "pictures.parquet")
    assert predict("--model.prior", SD, "--model.prior.path", "model", "--model.t0", "[0]") == 3
    level = json.loads(Path("run/metrics.json").read_text())["levels"][0]
    assert (level["n"], level["failed"]) == (1, 1)
    assert "has 16 tokens, but the text encoder takes 12; shorten it" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["ldm classes ckpt", "guided classes"])
def test_each_picture_is_restored_as_its_own_class(kind, here, capfd):
    """As in runs in which its class is that of all, to one grey value; and no class is that sample's failure."""
    table = pq.read_table("pictures.parquet").to_pylist()
    table.append(table[0] | {"image": table[0]["image"] | {"path": "c.png"}, "label": 6})
    pq.write_table(pa.Table.from_pylist(table), "pictures.parquet")
    if kind == "ldm classes ckpt":
        write(kind, here / "model")
        configs, prior = ("method/ldm/inpaint/lmap_rps", "task/inpaint", "prior/imagenet_ldm"), []
    else:
        torch.save(network(TINY | {"classes": 6}).state_dict(), here / "model")
        configs, prior = ("prior/imagenet64",), ["--model.prior.head_channels", "32"]

    def pictures(run: str, *arguments: str, code: int = 0) -> dict[str, np.ndarray]:
        """ID -> restored image of t0 = 600."""
        options = ["--model.prior.path", "model", *prior, *arguments, "--model.t0", "[0,600]"]
        assert predict(*options, configs=configs, data=tuple(DATA)) == code
        Path("run").rename(run)
        return {f.stem: np.asarray(Image.open(f), dtype=int) for f in Path(run, "images").glob("*600*/*.png")}

    own = pictures("own", "--data.label_column", "label", code=3)
    assert "this network has 6 classes; label must be 0 .. 5, got 6" in capfd.readouterr().err
    ones = {label: pictures(str(label), "--model.prior.class_label", str(label)) for label in (2, 4)}
    assert set(own) == {"a", "b"}
    assert abs(own["a"] - ones[2]["a"]).max() <= 1 and abs(own["b"] - ones[4]["b"]).max() <= 1
    assert abs(own["a"] - ones[4]["a"]).max() > 1 and abs(own["b"] - ones[2]["b"]).max() > 1


def test_latent_samplers_run_on_pixel_models(here):
    """Encode and decode are the identity there."""
    from diffusers import DDPMPipeline, DDPMScheduler

    DDPMPipeline(unet(3, sample_size=16), DDPMScheduler()).save_pretrained(here / "model")
    arguments = ["--model.prior", "rps.priors.DiffusersPrior.from_pretrained", "--model.prior.path", "model"]
    assert predict(*arguments, "--model.sampler", "rps.samplers.Psld", "--model.t0", "[0,1000]") == 0
    check([0, 1000], [2, 6])
