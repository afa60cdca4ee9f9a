"""`rps predict` on a folder of pictures of different sizes: what comes out, resuming, evaluating, degraded pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rps.cli import main

SIZES = {"a": (70, 45), "b": (40, 64), "sub__c": (20, 24)}
"""id -> (width, height), as Pillow has it."""


def predict(folder: Path, output: Path, *arguments: str, expect: int = 0) -> None:
    small = ["--model.t0", "[0,100]", "--model.steps", "4", "--model.estimator.num_steps", "3"]
    prior = ["--model.prior", "TiledPrior", "--model.prior.prior", "EmbeddedPrior", "--trainer.accelerator", "cpu"]
    data = ["--data", "ImageFolder", "--data.folder", str(folder), "--output", str(output)]
    assert main(["predict", "--config", "demo", *prior, *data, *small, *arguments]) == expect


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.stem: Image.open(path).size for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A PNG, a JPEG that its EXIF orientation turns, and one in a subfolder with an alpha channel."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    rng = np.random.default_rng(0)
    pictures = {}
    for id_, size in SIZES.items():
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        pictures[id_] = small.resize(size, Image.Resampling.BICUBIC)
    pictures["a"].save(folder / "a.png")
    turned, exif = pictures["b"].transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees to the right
    turned.save(folder / "b.jpg", exif=exif, quality=95)
    pictures["sub__c"].convert("RGBA").save(folder / "sub" / "c.png")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """Of two pictures first, then of all three: the run is extended."""
    output = tmp_path_factory.mktemp("runs") / "any"
    predict(folder, output, "--data.limit", "2")
    predict(folder, output)
    return output


def test_every_picture_keeps_its_size_and_name(run):
    for name in ("0", "100", "measurement", "reference"):
        assert sizes(run / "images" / name) == SIZES
    assert {Image.open(path).mode for path in (run / "images" / "0").glob("*.png")} == {"L"}  # the prior's


def test_the_run_is_reported_as_one(run):
    result = json.loads((run / "metrics.json").read_text())
    assert [level["n"] for level in result["levels"]] == [3, 3]
    # 3 calls for each tile: 6 of 70 x 45, 6 of 40 x 64 and 1 of 20 x 24.
    assert result["levels"][0]["network_calls_per_image"] == pytest.approx(3 * (6 + 6 + 1) / 3)
    assert len(list((run / "grids").glob("*.png"))) >= 3
    page = (run / "report.html").read_text()
    assert all(f"images/100/{id_}.png" in page for id_ in SIZES)


def test_a_finished_run_is_not_restored_again(run, folder):
    before = {path: path.stat().st_mtime_ns for path in run.glob("images/*/*.png")}
    predict(folder, run)
    assert {path: path.stat().st_mtime_ns for path in run.glob("images/*/*.png")} == before


def test_it_is_evaluated_and_merged_again(run):
    before = json.loads((run / "metrics.json").read_text())["levels"]
    assert main(["evaluate", str(run), "--trainer.accelerator", "cpu"]) == 0
    after = json.loads((run / "metrics.json").read_text())["levels"]
    assert [level["metrics"]["rmse"] for level in after] == [level["metrics"]["rmse"] for level in before]
    assert main(["merge", str(run)]) == 0


def test_small_pictures_are_enlarged_by_the_factor(tmp_path):
    """Pictures that are degraded already: those of sr4 come out four times as large."""
    (tmp_path / "small").mkdir()
    for name, size in (("x", (18, 12)), ("y", (5, 9))):
        Image.effect_noise(size, 60).save(tmp_path / "small" / f"{name}.png")
    predict(
        tmp_path / "small",
        tmp_path / "run",
        "--data.degraded",
        "true",
        "--trainer.callbacks.MetricRecorder.features",
        "null",
        "--trainer.callbacks.MetricRecorder.reference",
        "null",
    )
    assert sizes(tmp_path / "run" / "images" / "100") == {"x": (72, 48), "y": (20, 36)}


def test_a_size_that_the_prior_does_not_have_names_the_way_out(folder, tmp_path, capsys):
    fixed = ["--model.prior", "EmbeddedPrior", "--data.fit", "resize", "--data.limit", "1"]
    predict(folder, tmp_path / "run", *fixed, expect=3)
    assert "the data are 21 x 32 but the prior's images are 32 x 32" in (message := capsys.readouterr().err)
    assert "rps.TiledPrior, which takes any size" in message


@pytest.mark.slow
def test_each_picture_has_its_mask_and_its_noise(folder, tmp_path, capsys):
    """Masks of twice the size, each with a hole of its own at the lower right, are resized with their pictures."""
    pytest.importorskip("pywt")
    part = {"a": 2, "sub__c": 4}
    for id_ in part:
        (width, height), path = SIZES[id_], tmp_path / "masks" / f"{id_.replace('__', '/')}.png"
        mask = np.zeros((2 * height, 2 * width), dtype=np.uint8)
        mask[: 2 * (height // part[id_])], mask[:, : 2 * (width // part[id_])] = 255, 255
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    given = ["--data.degraded", "true", "--data.subset", "[a,sub__c]", "--model.noise", "null"]
    given += ["--model.operator", "MaskFile", "--model.operator.masks", str(tmp_path / "masks")]
    predict(folder, tmp_path / "run", *given)
    assert capsys.readouterr().err.count("estimated for") == 2
    assert sizes(tmp_path / "run" / "images" / "100") == {id_: SIZES[id_] for id_ in part}
    for id_, (width, height) in sizes(tmp_path / "run" / "images" / "measurement").items():
        picture = np.asarray(Image.open(next(folder.rglob(f"{id_[-1]}.png"))).convert("L"))
        shown, restored = (
            np.asarray(Image.open(tmp_path / "run" / "images" / name / f"{id_}.png")) for name in ("measurement", "0")
        )
        hole = np.zeros((height, width), dtype=bool)
        hole[height // part[id_] :, width // part[id_] :] = True
        assert (shown[~hole] == picture[~hole]).all() and len(np.unique(shown[hole])) == 1
        assert len(np.unique(restored[hole])) > 1
    assert main(["evaluate", str(tmp_path / "run"), "--trainer.accelerator", "cpu"]) == 0


@pytest.mark.slow
def test_pictures_that_the_operator_cannot_measure_are_reported_before_any_sample(tmp_path, capsys):
    """A box that fits into some of the pictures fails for the others; one that fits into none ends the run."""
    (folder := tmp_path / "pictures").mkdir()
    for name, side in (("x", 24), ("y", 40)):
        Image.effect_noise((side, side), 60).save(folder / f"{name}.png")
    box = ["--data.degraded", "true", "--model.operator", "BoxInpaint", "--model.operator.size"]
    predict(folder, tmp_path / "some", *box, "30", expect=3)
    assert set(sizes(tmp_path / "some" / "images" / "0")) == {"y"}
    capsys.readouterr()
    for only in ([], ["--data.subset", "[x]"], ["--data.limit", "1"]):
        predict(folder, tmp_path / "none", *box, "50" if not only else "30", *only, expect=2)
        assert "a box of" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.slow
def test_files_that_fit_no_picture_are_reported_before_any_sample(tmp_path, capsys):
    """A JPEG may have any size. Of others the compression is not known: one is a failed sample, all end the run."""
    (folder := tmp_path / "pictures").mkdir()
    Image.effect_noise((21, 13), 60).save(folder / "a.png")
    Image.effect_noise((21, 13), 60).save(folder / "b.jpg")
    files = ["--data.degraded", "true", "--model.operator", "JpegFile", "--model.operator.files", str(folder)]
    predict(folder, tmp_path / "some", *files, expect=3)
    assert sizes(tmp_path / "some" / "images" / "0") == {"b": (21, 13)}
    capsys.readouterr()
    predict(folder, tmp_path / "none", *files, "--data.subset", "[a]", expect=2)
    assert "a.png is PNG and not JPEG" in capsys.readouterr().err and not (tmp_path / "none").exists()
