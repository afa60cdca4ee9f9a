"""The command, with a model and data that cost nothing: overriding, run directories, interrupts, processes."""

import os
import re
import signal
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
from rps.records import Session
from tests.cli_fakes import CONFIG, records, resolved, rps

SCRIPT = Path(sys.executable).with_name("rps")

pytestmark = pytest.mark.usefixtures("folder")


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
    assert ("rps merge DIR" in done.stdout) != (f"rps {__version__}\n" == done.stdout)


def test_help_says_what_overwrite_and_exit_codes_are(capsys):
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "kept until the new run has restored its first batch" in text and "remove an earlier run" not in text
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        assert str(128 + number) in text


def test_unknown_command(capsys):
    assert main(["predikt"]) == 2
    assert capsys.readouterr().err.startswith("rps: error: 'predikt' is not a command")


def test_print_config_says_every_value(capsys):
    assert rps("--print_config", output=None) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["operator"]["init_args"] == {"width": 5, "factor": None}
    assert os.listdir() == ["fake.yaml"]


def test_our_callbacks_are_the_default_and_can_be_added_to(capsys):
    Path("bare.yaml").write_text(CONFIG[: CONFIG.index("trainer")])
    assert (
        main(["predict", "--config", "bare.yaml", "--trainer.callbacks+=tests.cli_fakes.Extra", "--print_config"]) == 0
    )
    callbacks = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    ours = ("MetricRecorder", "ImageWriter", "GridWriter", "ProgressBar")
    assert [c["class_path"] for c in callbacks] == [*(f"rps.callbacks.{c}" for c in ours), "tests.cli_fakes.Extra"]


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


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("callbacks=tests.cli_fakes.Extra", "no metrics and no pictures will be saved: --trainer.callbacks replaces"),
        (
            "callbacks=[]",
            "no metrics and no pictures will be saved: --trainer.callbacks replaces the list of callbacks",
        ),
        ("callbacks=ImageWriter", "no metrics will be saved: --trainer.callbacks replaces the list of callbacks; "),
        ("limit_predict_batches=0", "no sample was restored: the data have none; check data.subset, data.skip"),
        ("callbacks+=tests.cli_fakes.Extra", ""),
    ],
)
def test_a_run_that_saves_nothing_says_so(flag, said, capsys, monkeypatch):
    monkeypatch.setattr("rps.callbacks.ImageWriter.on_predict_batch_end", lambda *_: None)  # the fakes have no images
    assert rps(f"--trainer.{flag}") == (3 if flag == "limit_predict_batches=0" else 0)
    err = capsys.readouterr().err
    assert err.startswith(f"rps: {said}") and err.count("\n") == 1 if said else err == ""


def test_values_are_overridden_by_flags_wherever_they_stand_and_the_last_file_wins():
    Path("more.yaml").write_text("model: {init_args: {noise: 0.2, operator: {init_args: {width: 7}}}}")
    Path("last.yaml").write_text("model: {init_args: {noise: 0.3}}")
    files = ["--config", "more.yaml", "--config=last.yaml"]
    assert rps("--model.t0", "[0,7]", "--data.limit", "3", "--model.operator.factor", "2.5", "--seed", "5", *files) == 0
    model, data = resolved()["model"]["init_args"], resolved()["data"]["init_args"]
    assert model["t0"] == [0, 7] and model["noise"] == 0.3 and model["seed"] == 5
    assert model["operator"] == {"class_path": "tests.cli_fakes.Blur", "init_args": {"width": 7, "factor": 2.5}}
    assert data["limit"] == 3
    assert sorted(records()) == ["0", "1", "2"] and records()["0"]["seed"] == 5
    assert rps("--config", "more.yaml", "--model.noise=0.4", output="run2") == 0
    assert records("run2")["0"] == {"seed": 0, "rank": 0, "noise": 0.4}


def test_the_config_of_a_run_repeats_it():
    assert rps("--data.limit", "2", "--trainer.callbacks+=tests.cli_fakes.Extra") == 0
    assert main(["predict", "--config", "run/config.yaml", "--output", "again"]) == 0
    first, second = resolved("run"), resolved("again")
    assert second["trainer"].pop("default_root_dir") == "again" and first["trainer"].pop("default_root_dir") == "run"
    assert first == second
    assert records("run") == records("again") and Path("again/extra.txt").is_file()
    assert main(["predict", "--config", "run/config.yaml", "--output", "run", "--overwrite"]) == 0, "in its own place"


def test_packaged_configs_by_name(capsys):
    assert {"demo", "embedded/sr4"} <= set(packaged_configs())
    arguments = ["--config", "demo", "--config", "embedded/inpaint", "--config=fake.yaml", "--print_config"]
    assert main(["predict", *arguments]) == 0
    Path("demo").mkdir()  # a folder of that name is no config
    assert main(["predict", "--config", "demo", "--print_config"]) == 0
    assert "modules.MapRps" in capsys.readouterr().out
    assert main(["predict", "--config", "dmo", "--output", "run"]) == 2
    assert "there is no such file and no packaged one with that name; did you mean demo?" in capsys.readouterr().err
    assert main(["predict", "--config", "qqq", "--output", "run"]) == 2
    assert re.search("packaged are .*demo, .*embedded/sr4", capsys.readouterr().err)


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


def test_a_run_of_another_config_is_refused_or_replaced(capsys):
    assert rps("--data.limit", "4") == 0
    Path("run/notes.txt").write_text("my notes")
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    capsys.readouterr()
    assert rps("--data.limit", "2", "--model.noise", "0.2", "--model.t0", "[0,7]") == 2
    message = capsys.readouterr().err
    assert "output run holds a run of another config" in message and "--overwrite" in message
    assert "model.noise was 0.1 and is now 0.2" in message and "model.t0 was [0, 100] and is now [0, 7]" in message
    assert "data.limit" not in message, "which only chooses samples; this model does not say that of t0"
    assert rps("--model.t0", "oops", "--overwrite") == 2
    assert rps("--data.skip", "10", "--overwrite") == 2
    after = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.name != ".lock"}
    assert {path: time for path, time in before.items() if path.name != ".lock"} == after
    time.sleep(2.1)
    assert rps("--data.limit", "2", "--overwrite") == 0
    assert len(records()) == 2 and Path("run/notes.txt").read_text() == "my notes"
    assert "notes.txt" not in capsys.readouterr().out
    assert "overwrite" not in resolved()


def test_the_same_config_goes_on_however_it_is_run(capsys):
    """Batch size, workers, devices, bars may change; config.yaml keeps the first and notes the second."""
    assert rps() == 0
    first = resolved()
    capsys.readouterr()
    again = ["--data.batch_size", "1", "--data.num_workers", "1", "--trainer.devices", "1", "--trainer.strategy", "ddp"]
    assert rps(*again, "--trainer.enable_progress_bar", "false") == 0
    assert capsys.readouterr().err == "rps: resuming run: 0 samples are done\n"  # Recorder is no MetricRecorder
    assert resolved() == first
    header = Path("run/config.yaml").read_text().split("\nmodel:")[0]
    assert re.search(r"# resumed: 20.*: rps predict .* --data.batch_size 1 ", header)


def test_overwrite_never_removes_what_is_not_a_run(capsys):
    Path("mine/images").mkdir(parents=True)
    Path("mine/images/holiday.png").write_text("precious")
    Path("mine/config.yaml").write_text("of another program: true")
    assert rps("--overwrite", output="mine") == 2
    assert "output mine is not empty and was not written by rps" in capsys.readouterr().err
    assert Path("mine/images/holiday.png").is_file()


def test_overwrite_never_removes_what_the_run_reads(capsys):
    assert rps() == 0
    Path("run/images").mkdir()
    Image.new("L", (8, 8)).save("run/images/0.png")
    assert rps("--data.folder", "run/images", "--overwrite") == 2
    assert "--overwrite could remove run/images, which this run reads" in capsys.readouterr().err
    assert Path("run/images/0.png").is_file()


@pytest.mark.parametrize("option", ["where", "others"])
def test_overwrite_sees_paths_that_are_not_texts(option, capsys):
    """An argument typed Path is a PosixPath when the config has been parsed."""
    assert rps() == 0
    Path("run/mine.txt").write_text("precious")
    given = {"where": "elsewhere"} | {option: "run/mine.txt" if option == "where" else ["run/mine.txt"]}
    flags = [part for name, value in given.items() for part in (f"--data.{name}", yaml.safe_dump(value).strip())]
    flags = [part.removesuffix("\n...") for part in flags]
    assert rps("--data", "tests.cli_fakes.DotsFrom", *flags, "--overwrite") == 2
    assert "--overwrite could remove run/mine.txt, which this run reads" in capsys.readouterr().err


def test_a_link_among_the_outputs_is_not_ours():
    assert rps() == 0
    Path("elsewhere").mkdir()
    Path("elsewhere/a.png").write_text("precious")
    Path("run/images").symlink_to("../elsewhere")
    assert rps("--overwrite") == 0
    assert Path("run/images").is_symlink() and Path("elsewhere/a.png").is_file()


def test_an_empty_directory_is_used_and_stays_when_nothing_comes_of_it():
    Path("run").mkdir()
    assert rps("--model.trouble", "raise") == 2
    assert os.listdir("run") == []
    assert rps() == 0


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_interrupt_keeps_what_was_done(name, code, workers, capsys):
    start = time.monotonic()
    assert rps("--model.trouble", name, "--data.num_workers", workers) == code
    assert time.monotonic() - start < 15
    message = "rps: interrupted; 2 finished samples are kept in run; the same command resumes from there\n"
    assert capsys.readouterr() == ("", message)
    assert rps(output="after") == 0, "the process is as it was"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("when", ["while Lightning handles the first", "while the command does"])
def test_a_second_signal_changes_nothing(name, code, when, capsys, monkeypatch):
    callback = ["--trainer.callbacks+=tests.cli_fakes.Signals"] if "Lightning" in when else []
    kept = Session.kept

    def slow(session):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        return kept(session)

    monkeypatch.setattr(Session, "kept", kept if callback else slow)
    assert rps("--model.trouble", name, *callback) == code
    message = "rps: interrupted; 2 finished samples are kept in run; the same command resumes from there\n"
    assert capsys.readouterr() == ("", message)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_text_given_to_exit_is_printed(capsys):
    assert rps("--model.trouble", "exit") == 1
    assert capsys.readouterr().err == "rps: error: these weights are for another model\n"


def test_a_directory_that_is_removed_at_the_end_is_no_success(capsys):
    assert rps("--trainer.callbacks+=tests.cli_fakes.Remover") == 1
    assert capsys.readouterr().err == (
        "rps: error: the run directory run was removed while the run was writing to it\n"
    )


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the package is not installed")
def test_the_console_script():
    assert subprocess.run([SCRIPT, "--version"], capture_output=True, text=True).stdout == f"rps {__version__}\n"


def test_the_library_from_its_top():
    """Every name that rps exports exists."""
    import rps as library

    assert all(getattr(library, name) is not None for name in library.__all__)


@pytest.mark.parametrize(("enabled", "shown"), [("true", 1), ("false", 0)])
def test_progress_bars_are_those_among_the_callbacks(enabled, shown, capsys):
    assert rps("--trainer.callbacks+=tests.cli_fakes.Bar", "--trainer.enable_progress_bar", enabled) == 0
    assert capsys.readouterr().out.count("moving") == shown
