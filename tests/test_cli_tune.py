"""`rps tune` on the embedded default, as a user runs it: what it writes, resumes, refuses, and does without clean
pictures."""

import json
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from modules import MapRps
from rps.cli import main, processes, tune

BASE = [
    "--config", "demo", "--data.limit", "8", "--model.t0", "[200]", "--model.steps", "5",
    "--model.estimator.num_steps", "2", "--trainer.accelerator", "cpu", "--model.sampler.step_size", "1.0",
]  # fmt: skip
OVER = ["--over", "model.sampler.step_size=0.05:5:log"]


def run(*arguments: str, expect: int = 0) -> None:
    assert main(["tune", *arguments]) == expect


def trials(folder: Path) -> list[dict]:
    return json.loads((folder / "trials.json").read_text())["trials"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    run(*BASE, *OVER, "--trials", "4", "--output", str(folder))
    return folder


@pytest.fixture
def copied(tuned, tmp_path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "tuned"))


def test_the_table_has_every_trial_and_starts_from_the_config(tuned):
    found = trials(tuned)
    assert len(found) == 4 and sorted(t["number"] for t in found) == [0, 1, 2, 3]
    (first,) = [t for t in found if t["number"] == 0]
    assert first["settings"] == {"model.sampler.step_size": 1.0} and first["pictures"] == 8
    assert found[0]["figure"]["value"] == min(t["figure"]["value"] for t in found)
    assert all(0 < t["figure"]["se"] < t["figure"]["value"] for t in found)
    page = (tuned / "trials.md").read_text()
    assert "| trial | step_size |" in page and "The best is trial" in page and "RMSE: sqrt(mean(" in page
    assert Image.open(tuned / "trials.png").size[0] > 500


def test_a_trial_is_what_rps_predict_gives_with_best_yaml(tuned, tmp_path, monkeypatch):
    """The printed command, on the pictures of the search: the same RMSE and standard error of the mean."""
    content = json.loads((tuned / "trials.json").read_text())
    (best,) = [trial for trial in content["trials"] if trial["number"] == content["choice"]]
    arguments = [*BASE[:-2], "--config", str(tuned / "best.yaml"), "--output", str(tmp_path / "run")]
    assert main(["predict", *arguments]) == 0
    level = json.loads((tmp_path / "run" / "metrics.json").read_text())["levels"][0]
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["init_args"]["sampler"]
    assert resolved["init_args"]["step_size"] == best["settings"]["model.sampler.step_size"]
    assert resolved["init_args"]["per_timestep"] is True, "what was not tuned stays"
    assert level["metrics"]["rmse"]["mean"] == pytest.approx(best["figure"]["value"], rel=1e-4)
    assert level["metrics"]["rmse"]["se"] == pytest.approx(best["figure"]["se"], rel=0.2)


def test_it_prints_the_command_to_run_next(copied, capsys):
    run(*BASE, *OVER, "--trials", "4", "--output", str(copied))
    command = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    assert command[:4] == ["rps", "predict", "--config", "demo"]
    assert command[-4:] == ["--config", f"{copied}/best.yaml", "--output", f"{copied}_best"]
    assert not {"--data.limit", "--model.sampler.step_size", "--over", "--trials"} & set(command)
    assert main([*command[1:], "--print_config"]) == 0


def test_the_same_command_resumes_also_with_more_trials(copied, capsys):
    before = trials(copied)
    run(*BASE, *OVER, "--trials", "5", "--output", str(copied), "--data.batch_size", "3")
    assert "4 trials are done" in capsys.readouterr().err
    assert [t for t in trials(copied) if t["number"] < 4] == before
    assert len(trials(copied)) == 5


@pytest.mark.parametrize(("more", "sizes"), [([], [8, 8]), (["--no_pruning"], [16])])
def test_trials_that_cannot_end_early_take_whole_batches(more, sizes, tmp_path, monkeypatch):
    seen, step = [], MapRps.predict_step
    monkeypatch.setattr(MapRps, "predict_step", lambda self, b, i: seen.append(len(b["id"])) or step(self, b, i))
    run(*BASE, "--data.limit", "16", *OVER, "--trials", "1", "--output", str(tmp_path / "tuned"), *more)
    assert seen == sizes


def test_another_search_does_not_touch_the_folder(copied, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    others = {
        "model.t0 was [200] and is now [100]": [*BASE, "--model.t0", "[100]", *OVER],
        'objective was "rmse" and is now "psnr"': [*BASE, *OVER, "--objective", "psnr"],
        "step_size was": [*BASE, "--over", "model.sampler.step_size=0.05:4:log"],
    }
    for why, arguments in others.items():
        run(*arguments, "--output", str(copied), expect=2)
        assert why in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    run(*BASE, *OVER, "--output", str(tmp_path / "mine"), expect=2)
    assert "is not empty and holds no search" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("arguments", "why"), [
    ([*BASE], "there is nothing to search over; give --over"),
    ([*BASE, "--over", "model.sampler.step_sise=1:2"], "model.sampler.step_sise is not an option"),
    ([*BASE, "--over", "model.sampler.step_size=2:1"], "a range must go from a number to a larger one"),
    ([*BASE, "--over", "data.limit=1,2"], "only settings of the method"),
    ([*BASE, "--over", "model.noise=0.1,0.2"], "only settings of the method"),
    ([*BASE, *OVER, "--trials", "0"], "--trials must be at least 1, got 0"),
    ([*BASE, *OVER, "--trials", "few"], "invalid int value: 'few'"),
    ([*BASE, *OVER, "--overwrite"], "the same command resumes"),
    ([*BASE, *OVER, "--objective", "rsme"], "there is no objective 'rsme'"),
    ([*BASE, *OVER, "--objective", "held_out"], "got SuperResolution; use fission"),
    ([*BASE, *OVER, "--objective", "fission", "--tau", "0"], "tau must be a finite number > 0"),
    ([*BASE, *OVER, "--objective", "fission", "--model.noise", "0"], "needs Gaussian noise"),
    ([*BASE, *OVER, "--trainer.devices", "2"], "tries settings on one device, got 2"),
])  # fmt: skip
def test_invalid_input_is_one_sentence(arguments, why, tmp_path, capsys):
    run(*arguments, "--output", str(tmp_path / "new"), expect=2)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and why in errors[0]
    assert not (tmp_path / "new" / "best.yaml").exists()


def test_no_output_and_no_optuna(tmp_path, monkeypatch, capsys):
    run(*BASE, *OVER, expect=2)
    assert "there is no --output" in capsys.readouterr().err
    monkeypatch.setattr(tune, "find_spec", lambda name: None)
    run(*BASE, *OVER, "--output", str(tmp_path / "new"), expect=2)
    assert "rps tune needs the package optuna, which is not installed; pip install" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_classes_are_choices_and_settings_belong_to_their_class(tmp_path, capsys):
    """Settings that a class lacks fail; the class comes before its settings; best.yaml names it."""
    over = ["--over", "model.sampler.step_size=0.1,0.2", "--over", "model.sampler=Dps,Ddrm"]
    run(*BASE, *over, "--output", str(tmp_path / "new"))
    found = {tuple(t["settings"].values()): t for t in trials(tmp_path / "new")}
    assert {key[1] for key, t in found.items() if t["state"] == "complete"} == {"Dps"}
    assert {t["state"] for key, t in found.items() if key[1] == "Ddrm"} == {"failed"}
    assert "model.sampler.step_size is not an option of rps.Ddrm" in found[0.1, "Ddrm"]["reason"]
    assert found[0.1, "Dps"]["figure"]["value"] != found[0.2, "Dps"]["figure"]["value"]
    best = yaml.safe_load((tmp_path / "new" / "best.yaml").read_text())["model"]["init_args"]["sampler"]
    assert best["class_path"].endswith(".Dps") and best["init_args"]["step_size"] in (0.1, 0.2)


def test_pictures_that_are_already_degraded(tmp_path, capsys):
    """RMSE is refused, fission is not, and its limits are printed. The step of the config is derived: no number."""
    for i in range(6):
        noise = torch.rand(8, 8, generator=torch.Generator().manual_seed(i))
        (tmp_path / "small").mkdir(exist_ok=True)
        Image.fromarray((255 * noise).byte().numpy()).save(tmp_path / "small" / f"{i}.png")
    data = [
        "--data.folder",
        str(tmp_path / "small"),
        "--data.degraded",
        "true",
        "--over",
        OVER[1].replace("5:log", "2"),
    ]
    run(*BASE, *data, "--output", str(tmp_path / "a"), expect=2)
    assert "if they have no clean reference, give --objective fission" in capsys.readouterr().err
    derived = ["--model.sampler.step_size", "null"]
    run(*BASE, *data, *derived, "--objective", "fission", "--trials", "2", "--output", str(tmp_path / "b"))
    assert "fission sees only A(x)" in capsys.readouterr().err
    assert "Fission sees only A(x)" in (tmp_path / "b" / "trials.md").read_text()
    found = {t["number"]: t["settings"]["model.sampler.step_size"] for t in trials(tmp_path / "b")}
    assert found[0] is None and 0.05 <= found[1] <= 2 and [t["pictures"] for t in trials(tmp_path / "b")] == [6, 6]
    chosen = json.loads((tmp_path / "b" / "trials.json").read_text())["choice"]
    best = yaml.safe_load((tmp_path / "b" / "best.yaml").read_text())["model"]["init_args"]["sampler"]["init_args"]
    assert best["step_size"] == found[chosen]


def test_processes_run_the_same_command(tmp_path, monkeypatch, capfd):
    """Sharing the trials is tested in tests/rps/tuning/test_search.py; another process costs 15 seconds of imports."""
    started = []
    monkeypatch.setattr(processes, "copies", lambda *given: started.append(given) or nullcontext())
    command = [*BASE, *OVER, "--trials", "1", "--processes", "3", "--output", str(tmp_path / "new")]
    run(*command)
    assert started == [(["tune", *command, "--processes", "1"], 2)]
    monkeypatch.undo()
    capfd.readouterr()
    with processes.copies(["--version"], 1):
        pass
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""
    with processes.copies(["nonsense"], 2):
        pass
    assert "2 of 2 other processes ended with code 2" in capfd.readouterr().err
    with pytest.raises(KeyError), processes.copies(["nonsense"], 1):
        raise KeyError


def test_help(capsys):
    run("--help")
    assert "usage: rps tune" in capsys.readouterr().out


def test_a_folder_of_an_earlier_version_is_resumed(copied):
    """One that did not have `step_factor`; resuming adds nothing, as all trials are done."""
    file = copied / "search.yaml"
    text = file.read_text()
    assert "step_factor: 1.0" in text
    file.write_text("".join(line for line in text.splitlines(True) if "step_factor" not in line))
    run(*BASE, *OVER, "--trials", "4", "--output", str(copied))
    run(*BASE, *OVER, "--trials", "4", "--output", str(copied), "--model.sampler.step_factor", "2.0", expect=2)


LPIPS = """
trainer:
  callbacks:
    - class_path: rps.callbacks.MetricRecorder
      init_args: {metrics: [{class_path: rps.metrics.Lpips, init_args: {net: alex, weights: alexnet.pth}}]}
"""


def test_lpips_is_an_objective(tmp_path, monkeypatch):
    """Of a backbone with random weights: it is what `rps.metrics.Lpips` gives, lower being better."""
    import torchvision

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    weights = {f"features.{name}": v for name, v in torchvision.models.alexnet().features.state_dict().items()}
    torch.save(weights, "alexnet.pth")
    Path("lpips.yaml").write_text(LPIPS)
    run(*BASE, "--config", "lpips.yaml", *OVER, "--objective", "lpips", "--trials", "2", "--output", "tuned")
    found = trials(Path("tuned"))
    assert len(found) == 2 and 0 < found[0]["figure"]["value"] < found[1]["figure"]["value"]
    command = ["predict", *BASE, "--config", "lpips.yaml", "--config", "tuned/best.yaml", "--output", "best"]
    best = found[json.loads(Path("tuned/trials.json").read_text())["choice"] != found[0]["number"]]
    assert main([part for part in command if part not in ("--model.sampler.step_size", "1.0")]) == 0
    (level,) = json.loads(Path("best/metrics.json").read_text())["levels"]
    assert level["metrics"]["lpips"]["mean"] == pytest.approx(best["figure"]["value"], rel=1e-4)


def test_lpips_without_its_backbone_is_one_sentence(tmp_path, monkeypatch, capsys):
    import urllib.error

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    options = ["--metric", "lpips", "--objective", "lpips", "--output", str(tmp_path / "tuned")]
    run(*BASE, *OVER, *options, expect=2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "LPIPS" in line]
    assert "cannot be fetched" in line and "give a local copy of that file" in line
    assert not (tmp_path / "tuned").exists()


def test_a_range_for_an_option_of_integers_is_corrected(tmp_path, capsys):
    run(*BASE, "--over", "model.steps=1:2", "--output", str(tmp_path / "x"), expect=2)
    assert capsys.readouterr().err == "rps: error: --over model.steps=1:2: model.steps takes integers; give 1:2:int\n"
