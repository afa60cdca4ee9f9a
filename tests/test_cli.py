"""The command, with a model and data that cost nothing: overriding, refusals, one-sentence errors, run directories."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from rps import __version__
from rps.cli import main
from rps.cli.arguments import packaged_configs

CONFIG = """
model:
  class_path: tests.cli_fakes.FakeModel
  init_args: {noise_std: 0.1, operator: {class_path: tests.cli_fakes.Blur, init_args: {width: 5}}}
data:
  class_path: tests.cli_fakes.Dots
  init_args: {limit: 4, batch_size: 2}
trainer:
  accelerator: cpu
  callbacks: [{class_path: tests.cli_fakes.Recorder}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with fake.yaml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.yaml").write_text(CONFIG)
    return tmp_path


def rps(*arguments: str, output: str | None = "run") -> int:
    where = [] if output is None else ["--output", output]
    return main(["predict", "--config", "fake.yaml", *where, *arguments])


def records(output: str = "run") -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in Path(output, "records").glob("*.json")}


def resolved(output: str = "run") -> dict:
    return yaml.safe_load(Path(output, "config.yaml").read_text())


# ---- answers without a run


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "rps.cli", *arguments], capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"], []])
def test_help_is_quick(arguments):
    start = time.monotonic()
    done = command(*arguments)
    assert time.monotonic() - start < 2
    assert done.returncode == 0
    assert ("rps predict --config" in done.stdout) != (f"rps {__version__}\n" == done.stdout)


def test_unknown_command(capsys):
    assert main(["predikt"]) == 2
    assert capsys.readouterr().err.startswith("rps: error: 'predikt' is not a command")


def test_print_config_says_every_value(capsys):
    assert rps("--print_config", output=None) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["operator"]["init_args"] == {"width": 5, "factor": None}
    assert printed["trainer"]["inference_mode"] is False
    assert os.listdir() == ["fake.yaml"]


def test_our_callbacks_are_the_default_and_can_be_added_to(capsys):
    Path("bare.yaml").write_text(CONFIG[: CONFIG.index("trainer")])
    assert (
        main(["predict", "--config", "bare.yaml", "--trainer.callbacks+=tests.cli_fakes.Extra", "--print_config"]) == 0
    )
    callbacks = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    ours = ("MetricRecorder", "ImageWriter", "GridWriter", "CurvePlot", "ProgressBar")
    assert [c["class_path"] for c in callbacks] == [*(f"rps.callbacks.{c}" for c in ours), "tests.cli_fakes.Extra"]


# ---- a run


def test_a_run_tells_what_it_wrote(capsys):
    assert rps() == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[1:] == [
        "| level | n |", "|---|---|", "| 0 | 4 |", "", "Written:",
        "  run/config.yaml", "  run/metrics.json", "  run/table.md", "  run/records/ (4 files)",
    ]  # fmt: skip
    header = Path("run/config.yaml").read_text().split("\ntrainer:")[0]
    assert re.search(r"# versions: rps .*, python .*, torch .*, lightning .*, diffusers ", header)
    assert "# command: rps predict --config fake.yaml --output run" in header
    assert "# date: 20" in header


def test_values_are_overridden_by_flags_wherever_they_stand_and_the_last_file_wins():
    Path("more.yaml").write_text("model: {init_args: {noise_std: 0.2, operator: {init_args: {width: 7}}}}")
    Path("last.yaml").write_text("model: {init_args: {noise_std: 0.3}}")
    files = ["--config", "more.yaml", "--config=last.yaml"]
    assert rps("--model.t0", "[0,7]", "--data.limit", "3", "--model.operator.factor", "2.5", "--seed", "5", *files) == 0
    model, data = resolved()["model"]["init_args"], resolved()["data"]["init_args"]
    assert model["t0"] == [0, 7] and model["noise_std"] == 0.3 and model["seed"] == 5
    assert model["operator"] == {"class_path": "tests.cli_fakes.Blur", "init_args": {"width": 7, "factor": 2.5}}
    assert data["limit"] == 3
    assert sorted(records()) == ["0", "1", "2"] and records()["0"]["seed"] == 5
    assert rps("--config", "more.yaml", "--model.noise_std=0.4", output="run2") == 0
    assert records("run2")["0"] == {"seed": 0, "rank": 0, "noise_std": 0.4}


def test_the_config_of_a_run_repeats_it():
    assert rps("--data.limit", "2", "--trainer.callbacks+=tests.cli_fakes.Extra") == 0
    assert main(["predict", "--config", "run/config.yaml", "--output", "again"]) == 0
    first, second = resolved("run"), resolved("again")
    assert second["trainer"].pop("default_root_dir") == "again" and first["trainer"].pop("default_root_dir") == "run"
    assert first == second
    assert records("run") == records("again") and Path("again/extra.txt").is_file()


def test_packaged_configs_by_name(capsys):
    assert {"demo", "embedded/sr4"} <= set(packaged_configs())
    arguments = ["--config", "demo", "--config", "embedded/inpaint", "--config=fake.yaml", "--print_config"]
    assert main(["predict", *arguments]) == 0
    Path("demo").mkdir()  # a folder of that name is no config
    assert main(["predict", "--config", "demo", "--print_config"]) == 0
    assert "modules.MapRps" in capsys.readouterr().out
    assert main(["predict", "--config", "dmo", "--output", "run"]) == 2
    assert "there is no such file, and no packaged config of that name; did you mean demo?" in capsys.readouterr().err
    assert main(["predict", "--config", "qqq", "--output", "run"]) == 2
    assert "the packaged ones are demo, embedded/" in capsys.readouterr().err


def test_failed_samples_are_told_after_all_is_written(capsys):
    assert rps("--data.bad", "[1]") == 3
    out, err = capsys.readouterr()
    assert err == "rps: 1 sample failed; the others are done\nrps: failed: 1: cannot be read: rotten\n"
    assert sorted(records()) == ["0", "2", "3"] and "metrics.json" in out


def test_a_users_own_class_in_the_working_directory():
    Path("my_ops.py").write_text("from tests.cli_fakes import Op\n\nclass Mine(Op):\n    pass\n")
    Path("json.py").write_text("raise RuntimeError('a file of the user hides the standard library')")
    assert rps("--model.operator", "my_ops.Mine") == 0
    assert resolved()["model"]["init_args"]["operator"] == {"class_path": "my_ops.Mine"}
    assert os.getcwd() not in sys.path


def test_classes_by_their_names_alone():
    assert rps("--model", "FakeModel", "--model.operator", "Blur", "--data", "Dots") == 0


# ---- own pictures


def test_data_folder_switches_to_image_folder(capsys):
    Path("pictures").mkdir()
    for i in range(3):
        Image.new("L", (8, 8)).save(f"pictures/{i}.png")
    assert rps("--data.limit", "2", "--data.folder", "pictures") == 0
    assert resolved()["data"]["class_path"] == "datamodules.ImageFolder"
    assert sorted(records()) == ["0", "1"] and resolved()["data"]["init_args"]["batch_size"] == 2
    assert capsys.readouterr().err == "rps: 2 of the 3 pictures were used; --data.limit null uses all\n"
    assert rps("--data", "ImageFolder", "--data.folder=pictures", "--data.limit=null", output="run2") == 0
    assert main(["predict", "--config", "run2/config.yaml", "--data.folder", "pictures", "--output", "run3"]) == 0
    assert len(records("run3")) == 3
    assert rps("--data.folder", "nowhere", output="run4") == 2
    assert "folder 'nowhere' does not exist" in capsys.readouterr().err
    assert not Path("run4").exists()


# ---- bad input: one sentence, exit code 2, nothing written

BAD = {
    "misspelled option": (["--model.t00", "[0]"], "model.t00 is not an option of FAKES.FakeModel; did you mean t0?"),
    "misspelled deep option": (["--model.operator.widht", "3"], "model.operator.widht is not .*; did you mean width?"),
    "misspelled in a file": (["--config", "nois.yaml"], "model.nois_std is not .*; did you mean noise_std?"),
    "misspelled section": (["--config", "modle.yaml"], "'modle' is not a section; did you mean model?"),
    "misspelled init_args": (["--config", "init.yaml"], "data.init_arg.limit is not an option of"),
    "misspelled flag": (["--trainer.devise", "1"], "--trainer.devise is not .*; did you mean --trainer.devices?"),
    "misspelled in trainer": (["--config", "devise.yaml"], "trainer.devise is not .*; did you mean --trainer.devices?"),
    "misspelled output": (["--ouput", "x"], "--ouput is not an option; did you mean --output?"),
    "stray word": (["stray"], "'stray' is not understood"),
    "no value": (["--seed"], "--seed needs a value"),
    "wrong type": (["--model.noise_std", "much"], "model.noise_std must be float, got 'much'"),
    "wrong list": (["--model.t0", "5"], "model.t0 must be list, got '5'"),
    "wrong item": (["--model.t0", "[a]"], "model.t0 must be int, got 'a'"),
    "wrong optional": (["--data.limit", "3.5"], "data.limit must be int or null, got '3.5'"),
    "wrong seed": (["--seed", "x"], "model.seed must be int, got 'x'"),
    "wrong choice": (["--trainer.precision", "abc"], "trainer.precision must be .*bf16-mixed.* or null, got 'abc'"),
    "wrong class": (["--data", "FAKES.Blur"], "data must be a LightningDataModule, but FAKES.Blur is not one"),
    "no such module": (["--model", "foo.Bar"], "model: cannot use 'foo.Bar': No module named 'foo'"),
    "no such class": (["--model.operator", "FAKES.Blurr"], "model.operator: cannot use .*did you mean Blur?"),
    "no such short class": (["--model.operator", "Denoize"], "there is no class 'Denoize'; did you mean Denoise?"),
    "no such callback": (["--trainer.callbacks+=FAKES.Nope"], "trainer.callbacks: cannot use 'FAKES.Nope'"),
    "syntax error in a class": (["--model.operator", "my_broken.Op"], "model: invalid syntax .my_broken.py, line 2"),
    "missing config": (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
    "invalid YAML": (["--config", "bad.yaml"], "config bad.yaml is not valid YAML at line 2, column 2"),
    "a list": (["--config", "list.yaml"], "config list.yaml must hold sections model, data, trainer, got list"),
    "an empty file": (["--config", "empty.yaml"], "config empty.yaml must hold sections"),
    "a seed in a file": (["--config", "seed.yaml"], "the seed is model.init_args.seed"),
    "constructor refuses": (["--model.noise_std", "-1"], "noise_std must be >= 0, got -1.0"),
    "data refuse": (["--data.batch_size", "0"], "batch_size must be at least 1, got 0"),
    "trainer refuses": (["--trainer.accelerator", "abacus"], "trainer: You selected an invalid accelerator name"),
    "no such device": (["--trainer.accelerator", "cuda", "--trainer.devices", "99"], "trainer: "),
    "nothing left": (["--data.skip", "10"], "skip must be less than the 10 samples that there are, got 10"),
    "predict_step refuses": (["--model.trouble", "raise"], "the data have 3 channels but the prior has 1"),
    "memory": (["--model.trouble", "memory"], "too little memory.*--data.batch_size"),
    "model without seed": (["--model", "FAKES.NoSeed", "--seed", "1"], "model.seed is not an option of FAKES.NoSeed"),
}

FILES = {
    "nois.yaml": "model: {init_args: {nois_std: 1}}",
    "modle.yaml": "modle: {init_args: {noise_std: 1}}",
    "init.yaml": "data: {init_arg: {limit: 1}}",
    "devise.yaml": "trainer: {devise: 1}",
    "bad.yaml": "model: [1, 2\nx: : y",
    "list.yaml": "- 1",
    "empty.yaml": "",
    "seed.yaml": "seed: 1",
    "my_broken.py": "class Op:\n    def",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, folder, capsys):
    arguments, told = BAD[case][0], BAD[case][1].replace("FAKES", "tests.cli_fakes").replace("?", "[?]")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    assert rps(*[a.replace("FAKES", "tests.cli_fakes") for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1
    assert re.search(told, err), err
    assert out == "" and not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["predict", "--output", "run"], "there is no data and no model; give a --config"),
        (["predict", "--config", "fake.yaml"], "there is no --output; give the folder"),
        (["predict", "--config", "fake.yaml", "--output", "fake.yaml"], "output fake.yaml is a file"),
        (["predict", "--config"], "--config needs a value"),
    ],
)
def test_what_is_missing(arguments, told, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"rps: error: {told}")


@pytest.mark.parametrize("trouble", ["bug", "library", "bug in constructor"])
def test_a_bug_keeps_its_traceback(trouble, capsys):
    assert rps("--model.trouble", trouble) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "cli_fakes.py" in err and "looks like a bug" in err
    assert not Path("run").exists()


def test_debug_shows_where(monkeypatch, capsys):
    monkeypatch.setenv("RPS_DEBUG", "1")
    assert rps("--model.trouble", "raise") == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and "predict_step" in err and "rps: error: the data have 3 channels" in err


# ---- the output directory


def test_an_existing_run_is_refused_or_replaced(capsys):
    assert rps("--data.limit", "4") == 0
    Path("run/notes.txt").write_text("my notes")
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    capsys.readouterr()
    assert rps("--data.limit", "2") == 2
    assert "output run is not empty; give another --output, or --overwrite" in capsys.readouterr().err
    assert rps("--model.t0", "oops", "--overwrite") == 2
    assert rps("--data.skip", "10", "--overwrite") == 2
    assert before == {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    time.sleep(2.1)
    assert rps("--data.limit", "2", "--overwrite") == 0
    assert len(records()) == 2 and Path("run/notes.txt").read_text() == "my notes"
    assert "notes.txt" not in capsys.readouterr().out
    assert "overwrite" not in resolved()


def test_overwrite_never_removes_what_is_not_a_run(capsys):
    Path("mine/images").mkdir(parents=True)
    Path("mine/images/holiday.png").write_text("precious")
    Path("mine/config.yaml").write_text("of another program: true")
    assert rps("--overwrite", output="mine") == 2
    assert "output mine was not written by rps" in capsys.readouterr().err
    assert Path("mine/images/holiday.png").is_file()


def test_overwrite_never_removes_what_the_run_reads(capsys):
    assert rps() == 0
    Path("run/images").mkdir()
    Image.new("L", (8, 8)).save("run/images/0.png")
    assert rps("--data.folder", "run/images", "--overwrite") == 2
    assert "--overwrite would remove run/images, which this run reads" in capsys.readouterr().err
    assert Path("run/images/0.png").is_file()


def test_a_link_among_the_outputs_is_removed_and_not_what_it_leads_to():
    assert rps() == 0
    Path("elsewhere").mkdir()
    Path("elsewhere/a.png").write_text("precious")
    Path("run/images").symlink_to("../elsewhere")
    assert rps("--overwrite") == 0
    assert not Path("run/images").exists() and Path("elsewhere/a.png").is_file()


def test_an_empty_directory_is_used_and_stays_when_nothing_comes_of_it():
    Path("run").mkdir()
    assert rps("--model.trouble", "raise") == 2
    assert os.listdir("run") == []
    assert rps() == 0


# ---- interrupts and processes


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_interrupt_keeps_what_was_done(name, code, workers, capsys):
    start = time.monotonic()
    assert rps("--model.trouble", name, "--data.num_workers", workers) == code
    assert time.monotonic() - start < 15
    assert capsys.readouterr() == ("", "rps: interrupted; 2 finished samples are kept in run\n")
    assert rps(output="after") == 0, "the process is as it was"


@pytest.mark.slow
def test_two_processes(capfd):
    arguments = ["--data.limit", "3", "--data.bad", "[1]", "--data.batch_size", "1", "--seed", "4"]
    assert rps("--trainer.devices", "2", *arguments) == 3
    assert {name: (row["rank"], row["seed"]) for name, row in records().items()} == {"0": (0, 4), "2": (0, 4)}
    assert Path("run/records/1.failed").read_text() == "cannot be read: rotten"
    out, err = capfd.readouterr()
    assert out.count("Written:") == 1
    assert err.startswith("rps: 1 sample failed")
    assert rps("--trainer.devices", "1", output="after") == 0, "the process is as it was"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "ImageFolder", "--data.folder", "nowhere"], "folder 'nowhere' does not exist"),
        (["--model.trouble", "fail on 1"], "the data have 3 channels but the prior has 1"),
        (["--model.trouble", "fail on 0"], "the data have 3 channels but the prior has 1"),
    ],
    ids=["both", "the second", "the first"],
)
def test_an_error_in_two_processes_is_told_once(arguments, told, capfd):
    assert rps("--trainer.devices", "2", *arguments) == 2
    err = capfd.readouterr().err
    assert err.count("rps: error: ") == 1 and told in err
    assert "Traceback" not in err


@pytest.mark.skipif(shutil.which("rps") is None, reason="the package is not installed on the path")
def test_the_console_script():
    assert subprocess.run(["rps", "--version"], capture_output=True, text=True).stdout == f"rps {__version__}\n"
