"""`rps evaluate`: the figures of a run from its pictures alone."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from rps.cli import main
from rps.metrics import Metric, Statistics
from rps.records import RecordWriter, Row, read_records
from rps.report.curve import dp_curve_plot
from tests import resume_fakes
from tests.resume_fakes import CONFIG, metrics
from tests.rps.test_run_directory import state

BROKEN = ["--data.limit", "9", "--data.broken", "[3]", "--model.prior.nan_above", "0.1"]


DENOISE = resume_fakes.White.denoise


class Contrast(Metric):
    """Of the saved picture and the measurement."""

    name, needs_reference = "contrast", False

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def judge(self, candidate):
        noise = candidate.measurement.y.flatten(1).std(1)
        return self.gain * candidate.saved.flatten(1).std(1) / noise


class Largest(Metric):
    """Of the image before it is rounded."""

    name, needs_reference = "largest", False

    def judge(self, candidate):
        return candidate.images.flatten(1).amax(1)


class Interrupted(Contrast):
    def judge(self, candidate):
        raise KeyboardInterrupt


def predict(*arguments: str, output: str = "run") -> int:
    return main(["predict", "--config", "fake.yaml", "--output", output, *arguments])


def figures(output: str = "run") -> str:
    return Path(output, "metrics.json").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run in which one picture cannot be read and bright ones are NaN at some levels."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "fake.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert predict(*BROKEN) == 3
    return folder


@pytest.fixture(autouse=True)
def _folder(made, tmp_path, monkeypatch, no_curve):
    """A copy of it, and a prior that must not be called."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments):
        raise AssertionError("the prior was called")

    monkeypatch.setattr(resume_fakes.White, "denoise", refuse)


def test_the_figures_of_the_run_come_out_again(capsys):
    """To the last digit, whatever the batches; the failures, their reasons and the costs are kept."""
    before, table, config = (
        figures(),
        Path("run/table.md").read_text(),
        yaml.safe_load(Path("run/config.yaml").read_text()),
    )
    rows = read_records("run").rows
    assert [(level["n"], level["failed"]) for level in json.loads(before)["levels"]] == [(7, 2), (7, 2)]
    files = {path.name for path in Path("run/records").iterdir()}
    assert main(["evaluate", "run", "--data.batch_size", "9"]) == 0
    assert (
        figures() == before and Path("run/table.md").read_text() == table and table.strip() in capsys.readouterr().out
    )
    assert read_records("run").rows == rows and not files & {path.name for path in Path("run/records").iterdir()}
    assert yaml.safe_load(Path("run/config.yaml").read_text()) == config
    assert "# evaluated: 20" in Path("run/config.yaml").read_text()


def test_metrics_features_and_reference_are_those_of_a_run_that_had_them(monkeypatch):
    """A metric is added and replaced by its name; a reference set is given and taken away again."""
    before = figures()
    Statistics.from_features(torch.rand(40, 4), "forty others", keep=True).save("others.safetensors")
    assert main(["evaluate", "run", "--metric", "tests.test_evaluate.Contrast"]) == 0
    gain = "{class_path: tests.test_evaluate.Contrast, init_args: {gain: 2.0}}"
    assert main(["evaluate", "run", "--metric", gain, "--reference", "others.safetensors"]) == 0
    monkeypatch.setattr(resume_fakes.White, "denoise", DENOISE)
    whole = CONFIG.replace("Blocks}", "Blocks}, reference: others.safetensors, metrics: [" + gain + "]")
    Path("fake.yaml").write_text(whole)
    assert predict(*BROKEN, output="whole") == 3
    assert metrics() == metrics("whole")
    assert main(["evaluate", "run", "--reference", "null", "--features", "tests.rps.predictions.Blocks"]) == 0
    found = json.loads(figures(), object_hook=lambda entry: {k: v for k, v in entry.items() if k != "contrast"})
    found["metrics"] = [info for info in found["metrics"] if info["name"] != "contrast"]
    assert found == json.loads(before)


@pytest.mark.parametrize("form", ["png16", "webp"])
def test_other_formats_of_pictures(monkeypatch, capsys, form):
    """The figures come out again; a repeated command restores nothing; the page shows the files, and they can go."""
    options = [*BROKEN, "--trainer.callbacks.ImageWriter.format", form]
    with monkeypatch.context() as patch:
        patch.setattr(resume_fakes.White, "denoise", DENOISE)
        assert predict(*options, output="other") == 3
    before = figures("other")
    assert main(["evaluate", "other"]) == 0 and figures("other") == before
    assert metrics("other") == metrics(), "pictures of 8 bits"
    suffix = ".webp" if form == "webp" else ".png"
    pictures = {path.suffix for path in Path("other/images").rglob("*.*")}
    assert pictures == {suffix} and f"images/50/00{suffix}" in Path("other/report.html").read_text()
    assert predict(*options, output="other") == 3, "the prior, which raises, was not called"
    assert main(["report", "other", "--standalone", "--output", "page.html"]) == 0
    assert f"data:image/{suffix[1:]};base64," in Path("page.html").read_text()
    assert predict(*BROKEN, output="other") == 2
    assert ".format was" in capsys.readouterr().err
    monkeypatch.setattr(resume_fakes.White, "denoise", DENOISE)
    assert predict(*BROKEN, "--overwrite", output="other") == 3
    assert {path.suffix for path in Path("other/images").rglob("*.*")} == {".png"}, "none of the old ones is left"


def test_a_run_without_features_has_no_distances_and_no_curve(monkeypatch, capsys):
    monkeypatch.setattr(import_module("rps.report.finish"), "dp_curve_plot", dp_curve_plot)
    assert main(["evaluate", "run", "--features", "null"]) == 0
    assert not Path("run/features").exists() and not Path("run/dp_curve.png").exists()
    assert "frechet" not in metrics()["levels"][0]["metrics"]
    assert "run/dp_curve.png" not in capsys.readouterr().out


def test_the_run_resumes_with_its_new_settings_and_says_so(monkeypatch, capsys):
    assert main(["evaluate", "run", "--metric", "tests.test_evaluate.Contrast"]) == 0
    capsys.readouterr()
    assert predict(*BROKEN) == 2
    said = capsys.readouterr().err
    assert "holds a run of another config: trainer.callbacks.0.metrics.0 was" in said
    assert "; rps evaluate run changes the metrics of a run" in said
    monkeypatch.setattr(resume_fakes.White, "denoise", DENOISE)
    assert main(["predict", "--config", "run/config.yaml", "--output", "run", "--data.limit", "11"]) == 3
    assert [(level["n"], level["failed"]) for level in metrics()["levels"]] == [(7, 4), (7, 4)]
    assert "contrast" in metrics()["levels"][0]["metrics"]


def test_all_samples_of_an_extended_run_are_evaluated(monkeypatch):
    """Also those that the last command did not choose, at the levels that they have."""
    with monkeypatch.context() as patch:
        patch.setattr(resume_fakes.White, "denoise", DENOISE)
        assert predict("--data.limit", "2", output="part") == 0
        assert predict("--data.skip", "3", "--data.limit", "2", "--model.t0", "[90]", output="part") == 0
    before, rows = figures("part"), read_records("part").rows
    assert {key: len(of) for key, of in rows.items() if key[1]} == {("restored", 50): 2, ("restored", 90): 2}
    assert main(["evaluate", "part"]) == 0
    assert figures("part") == before and read_records("part").rows == rows


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["nowhere"], "there is no run nowhere; give the --output folder of a run"),
        (["here"], "here is not a run: it has no records"),
        ([], "takes a run directory first, as in rps evaluate runs/demo --lpips vgg"),
        (["--lpips", "vgg", "run"], "takes a run directory first"),
        (["run", "--config", "demo"], "--config is not an option of rps evaluate (see rps evaluate --help)"),
        (["run", "--trainer.callbacks+=x"], "--trainer.callbacks+=x is not an option of rps evaluate"),
        (
            ["run", "--metric"],
            "rps evaluate takes a run directory and options: argument --metric: expected one argument",
        ),
        (["run", "--metric", "["], "--metric [ is not valid YAML"),
        (["run", "--features", "[1]"], "--features must be a class, or {class_path: ..., init_args: ...}, got [1]"),
        (["run", "--lpips", "squeeze"], "net must be 'vgg', 'alex', got 'squeeze'"),
        (["run", "--reference", "gone.safetensors"], "gone.safetensors"),
        (
            ["run", "--model.noise", "0.2"],
            "evaluate changes only the metrics of run, but model.noise was 0.1 and is now",
        ),
        (["run", "--metric", "tests.test_evaluate.Largest"], "the metric largest needs the images of the solver, but"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence_and_changes_nothing(given, sentence, capsys):
    Path("here").mkdir()
    before = state(Path("run"))
    assert main(["evaluate", *given]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rps: ")]
    assert sentence in said
    assert unlocked(state(Path("run"))) == unlocked(before)


@pytest.mark.parametrize("lost", ["missing", "garbled", "not in the data", "of two samples", "exact"])
def test_pictures_and_data_that_are_gone_are_one_sentence_and_change_nothing(lost, capsys):
    picture = Path("run/images/50/02.png")
    if lost == "missing":
        picture.unlink()
    elif lost == "garbled":
        picture.write_bytes(picture.read_bytes()[:50])
    elif lost == "exact":
        RecordWriter("run").write([Row("00", 0, metrics={"oracle_gap": 1.0})], "t0")
    else:
        id_ = "zz" if lost == "not in the data" else "02"
        for level in (0, 50):
            shutil.copy(picture, f"run/images/{level}/{id_}.png") if id_ == "zz" else None
            RecordWriter("run").write([Row(id_, level, metrics={"rmse": 0.9})], "t0")
    before = state(Path("run"))
    assert main(["evaluate", "run"]) == 2
    sentence = {
        "missing": "run lacks 1 of its pictures, such as run/images/50/02.png; repeat its rps predict command with",
        "garbled": "run/images/50/02.png is no picture that can be read",
        "not in the data": "the run has pictures of 'zz', which the data no longer have; restore what was removed",
        "of two samples": "two samples of run have the id '02', but there is one picture of it; give unique ids",
        "exact": "run was compared with exact posteriors, of which its pictures tell nothing; repeat its rps predict",
    }[lost]
    assert sentence in capsys.readouterr().err
    assert unlocked(state(Path("run"))) == unlocked(before)


def test_an_interrupt_leaves_the_run_as_it_was(capsys):
    before = state(Path("run"))
    assert main(["evaluate", "run", "--metric", "tests.test_evaluate.Interrupted"]) == 130
    assert "rps: interrupted; run is as it was" in capsys.readouterr().err
    assert unlocked(state(Path("run"))) == unlocked(before)
    assert main(["evaluate", "run"]) == 0


def unlocked(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != ".lock"}


def test_help(capsys):
    assert main(["evaluate", "--help"]) == 0 and capsys.readouterr().out.startswith("usage: rps evaluate RUN")
