"""Runs of several processes, started by Lightning, torchrun or SLURM; and signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import datamodules
import modules
import rps.schedule
from rps.callbacks.barrier import ProcessLost
from rps.cli import predict as command
from rps.cli.processes import Children
from rps.records import read_records
from tests.resume_fakes import CONFIG, children, close, kill, log, metrics, more_records_than, run, start, wait


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, no_curve):
    monkeypatch.chdir(tmp_path)
    Path("fake.yaml").write_text(CONFIG)


SLOW = ["--model.prior.seconds", "0.2", "--data.count", "13"]


def gone(process: int) -> bool:
    """Within five seconds."""
    deadline = time.monotonic() + 5
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{process}").exists()


def test_lightnings_own_process_is_killed_and_the_run_resumes():
    """trainer.devices=2 without torchrun, kill -9 of the second, then to the end."""
    first = start(*SLOW, processes=2, by="Lightning")
    more_records_than(0)
    (second,) = children(first)
    os.kill(second, signal.SIGKILL)
    assert wait(first) == 1, log()
    assert log().startswith("rps: another process of the run was killed (signal 9); "), log()
    assert len(log().splitlines()) == 1 and log().endswith("resumes from there\n")
    assert 0 < len(read_records("run").rows["restored", 0]) < 13
    assert run(*SLOW) == 0, log()
    found = read_records("run")
    assert sorted(found.rows["restored", 0]) == [f"{i:02d}" for i in range(13)] and found.duplicates == 0


def test_a_signal_to_the_first_process_ends_the_one_that_lightning_started():
    first = start(*SLOW, processes=2, by="Lightning, forked")
    more_records_than(0)
    (second,) = children(first)
    os.kill(first, signal.SIGTERM)
    assert wait(first) == 143, log()
    assert len(log().splitlines()) == 1 and log().startswith("rps: interrupted; "), log()
    assert gone(second), "nobody is left behind"


def test_an_error_of_the_second_process_is_reported_once():
    prior = ["--model.prior", "tests.resume_fakes.Picky"]
    assert wait(start(*prior, processes=2, by="Lightning, forked")) == 2
    assert log().count("rps: ") == 1 and "rps: error: the prior is conditioned on the nothing of each image" in log()
    assert "Traceback" not in log()


def test_two_tasks_of_slurm():
    """The variables that srun sets for each task, and no launcher: Lightning reads the rank from them."""
    assert run(processes=2, by="srun") == 0, log()
    assert run(output="alone") == 0, log()
    assert close(metrics(), metrics("alone"))
    ranks = {path.name.split("-")[1] for path in Path("run").glob("records/[!.]*.parquet")}
    assert ranks == {"00000", "00001"} and log().count("Written:") == 2


@pytest.mark.parametrize("by", ["torchrun", "srun"])
def test_a_killed_process_ends_the_run_and_it_can_be_resumed(by):
    """torchrun ends the first by SIGTERM; under srun it notices when it waits for the second."""
    child = start("--model.prior.seconds", "0.1", processes=2, by=by)
    more_records_than(0)
    os.kill(children(child)[-1], signal.SIGKILL)
    begin = time.monotonic()
    assert wait(child) not in (0, 3)
    assert time.monotonic() - begin < 20
    message = "rps: interrupted; " if by == "torchrun" else "rps: error: another process of the run has ended; "
    assert message in log() and "the same command resumes from there" in log() and "Traceback" not in log()
    assert run("--model.prior.seconds", "0.1", processes=3) == 0, log()
    found = read_records("run")
    assert sorted(found.rows["restored", 0]) == [f"{i:02d}" for i in range(13)] and found.duplicates == 0


def test_a_signal_is_heard_while_the_other_process_is_waited_for():
    child = start("--model.prior", "tests.resume_fakes.SlowSecond", "--data.limit", "4", processes=2)
    more_records_than(0)
    time.sleep(0.5)
    os.kill(children(child)[0], signal.SIGTERM)
    assert gone(children(child)[0]) and "rps: interrupted; 2 finished samples are kept in run" in log()
    kill(child)


def test_other_processes_are_watched_and_ended():
    procs = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    started = Children(SimpleNamespace(launcher=SimpleNamespace(procs=procs)))
    started.check()
    first, second = procs
    started.take()
    assert procs == [], "Lightning's observer has nobody to watch"
    first.terminate()
    first.wait()
    with pytest.raises(ProcessLost, match="the same command resumes"):
        started.check()
    assert started.end(patience=5) == started.end(patience=5) == -signal.SIGTERM
    assert second.poll() == -signal.SIGKILL


PHASES = {
    "parsing": (command.arguments, "read"),
    "building": (rps.schedule.Schedule, "linear"),
    "data": (datamodules.SampleDataModule, "setup"),
    "first batch": (modules.MapRps, "predict_step"),
}


def stops_in(phase: str, number: int):
    """The run gets a signal there."""

    def stop(*args, **options):
        os.kill(os.getpid(), number)
        time.sleep(30)

    return lambda: setattr(*PHASES[phase], stop)


@pytest.mark.parametrize(("phase", "name"), [*((phase, "SIGTERM") for phase in PHASES), ("first batch", "SIGUSR1")])
def test_a_signal_at_any_moment_ends_the_run_with_one_sentence(phase, name):
    number = getattr(signal, name)
    assert run(before=stops_in(phase, number)) == 128 + number
    assert len(log().splitlines()) == 1 and log().startswith("rps: interrupted"), log()
    assert not Path("run").exists()


def test_a_signal_while_libraries_are_imported():
    program = (
        "import os, signal, time, rps.cli.predict as place\n"
        "def stop(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)\n"
        "place.quiet = stop\n"
        "from rps.cli import main\n"
        "main(['predict', '--config', 'fake.yaml', '--output', 'run'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 143
    assert done.stderr == "rps: interrupted before the run began; nothing was written\n"
