"""--trainer.logger: where the loggers' files are, and that they are nobody's but the loggers'."""

import csv
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger

from rps.cli import main
from tests.resume_fakes import CONFIG, log, run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fake.yaml").write_text(CONFIG)


class Early(CSVLogger):
    """Writes a file when it is made, as that of MLflow does."""

    def __init__(self, save_dir: str):
        super().__init__(save_dir)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        Path(save_dir, "early.txt").write_text("was here")


def rps(*options: str, output: str = "run") -> int:
    small = ["--data.count", "3", "--model.steps", "2", "--trainer.callbacks", "MetricRecorder"]
    return main(["predict", "--config", "fake.yaml", *small, "--output", output, *options])


def logs(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.csv"))


@pytest.mark.parametrize("name", ["csvlogger", "[CSVLogger]"])
def test_the_files_of_a_logger_are_in_the_run_directory(name, capsys):
    assert rps("--trainer.logger", name) == 0, capsys.readouterr().err
    assert "run/logs/ (1 file)" in capsys.readouterr().out
    with Path("run/logs/lightning_logs/version_0/metrics.csv").open() as file:
        assert [(row["step"], float(row["t0"]), row["n"]) for row in csv.DictReader(file)] == [
            ("0", 0, "3.0"), ("50", 50, "3.0"),
        ]  # fmt: skip


def test_loggers_in_a_config_and_a_folder_of_ones_own():
    """Flags set an option of the logger; several loggers may be given."""
    Path("log.yaml").write_text("trainer: {logger: [{class_path: CSVLogger, init_args: {name: own}}]}")
    assert rps("--config", "log.yaml") == 0
    assert logs("run") == ["logs/own/version_0/metrics.csv"]
    two = ["--trainer.logger", "[CSVLogger, {class_path: CSVLogger, init_args: {save_dir: there, name: x}}]"]
    assert rps(*two, output="run2") == 0
    assert logs("run2") == ["logs/lightning_logs/version_0/metrics.csv"] and logs("there") == [
        "x/version_0/metrics.csv"
    ]
    one = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir", "here"]
    assert rps(*one, output="run3") == 0
    assert logs("run3") == [] and logs("here") == ["lightning_logs/version_0/metrics.csv"]


def test_the_config_of_a_run_logs_where_it_is_repeated():
    assert rps("--trainer.logger", "CSVLogger") == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["logger"]["init_args"]["save_dir"] == ""
    assert main(["predict", "--config", "run/config.yaml", "--output", "again"]) == 0
    assert logs("again") == ["logs/lightning_logs/version_0/metrics.csv"] and len(logs("run")) == 1


def test_earlier_logs_stay():
    """When a run resumes with a logger, which needs no other config, and when it is replaced."""
    assert rps() == 0 and logs("run") == []
    for k, options in enumerate([[], [], ["--overwrite"], ["--overwrite", "--trainer.logger.save_dir", "run/logs"]]):
        assert rps("--trainer.logger", "CSVLogger", *options) == 0
        assert logs("run") == [f"logs/lightning_logs/version_{i}/metrics.csv" for i in range(k + 1)]


@pytest.mark.parametrize("option", ["--model.operator.refuse_above", "--model.prior.refuses"])
def test_a_run_in_which_nothing_is_restored_leaves_no_logs(option):
    """The run fails at its start, or in its first batch."""
    assert rps("--trainer.logger", "CSVLogger", option, "-9" if "above" in option else "true") in (1, 2)
    assert not Path("run").exists()


def test_a_logger_that_writes_before_the_run_begins():
    """Its folder counts as empty, for this run and for one after a failure; another folder does not."""
    early = ["--trainer.logger", "tests.test_cli_loggers.Early"]
    assert rps(*early, "--model.t0", "[0, 5000]") == 2
    assert rps(*early) == 0
    assert Path("run/logs/early.txt").is_file()
    Path("mine/logbook").mkdir(parents=True)
    assert rps(*early, output="mine") == 2


def test_one_of_several_processes_logs():
    assert run("--data.count", "3", "--trainer.logger", "CSVLogger", processes=2) == 0, log()
    assert logs("run") == ["logs/lightning_logs/version_0/metrics.csv"]
    assert len(Path("run", logs("run")[0]).read_text().splitlines()) == 3
