"""Processes that Lightning starts itself, and those that SLURM starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rps.cli import processes
from rps.records import read_records
from tests.resume_fakes import CONFIG, children, close, count, log, metrics, more_records_than, run

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fake.yaml").write_text(CONFIG)


SLOW = ["--model.prior.seconds", "0.2", "--data.count", "13"]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lightnings_own_processes_are_killed_and_the_run_goes_on():
    """trainer.devices=2 without torchrun: SIGTERM to the first, then kill -9 of the second, then to the end."""
    command = [sys.executable, "-m", "rps.cli", "predict", "--config", "fake.yaml", "--output", "run", *SLOW]
    command += ["--trainer.devices", "2"]
    told = []
    for round_, number in enumerate((signal.SIGTERM, signal.SIGKILL)):
        before = count()
        with open(f"log{round_}", "w") as stream:
            first = subprocess.Popen(command, env=environment(), stdout=stream, stderr=stream, start_new_session=True)
        more_records_than(before, seconds=200)
        second = children(first.pid)[-1]
        os.kill(first.pid if number == signal.SIGTERM else second, number)
        assert first.wait(timeout=120) not in (0, 3)
        told.append(Path(f"log{round_}").read_text())
        assert "the same command resumes from there" in told[-1], told[-1]
        deadline = time.monotonic() + 30
        while Path(f"/proc/{second}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not Path(f"/proc/{second}").exists(), "nobody is left behind"
    assert 0 < len(read_records("run").rows["restored", 0]) < 13
    assert run(*SLOW, "--trainer.devices", "1") == 0, log()
    found = read_records("run")
    assert sorted(found.rows["restored", 0]) == [f"{i:02d}" for i in range(13)] and found.duplicates == 0


@pytest.mark.slow
def test_two_processes_of_slurm():
    """The variables that srun sets for each task, and no launcher: Lightning reads the rank from them."""
    command = [sys.executable, "-m", "rps.cli", "predict", "--config", "fake.yaml", "--output", "run"]
    command += ["--trainer.num_nodes", "1", "--trainer.devices", "2"]
    tasks = []
    for rank in range(2):
        slurm = {
            "SLURM_JOB_ID": str(40000 + os.getpid()), "SLURM_JOB_NAME": "restore", "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0",
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "MASTER_ADDR": "127.0.0.1",
        }  # fmt: skip
        with open(f"task{rank}", "w") as stream:
            tasks.append(subprocess.Popen(command, env=environment(**slurm), stdout=stream, stderr=stream))
    codes = [task.wait(timeout=200) for task in tasks]
    assert codes == [0, 0], Path("task0").read_text() + Path("task1").read_text()
    assert run(output="alone") == 0, log()
    assert close(metrics(), metrics("alone"))
    ranks = {path.name.split("-")[1] for path in Path("run").glob("records/[!.]*.parquet")}
    assert ranks == {"00000", "00001"}
    assert "Written:" in Path("task0").read_text() and Path("task1").read_text() == ""


def started(*arguments: str, **more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "rps.cli", "predict", "--config", "fake.yaml", "--output", "run", *arguments]
    return subprocess.Popen(
        command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


PHASES = {
    "imports": "import rps.cli.predict as place; place.quiet = stop",
    "parsing": "import rps.cli.predict as place; place.parser_sentence = place.arguments.read = stop",
    "building": "import rps.schedule; rps.schedule.Schedule.linear = stop",
    "data": "import datamodules; datamodules.SampleDataModule.setup = stop",
    "first batch": "import modules; modules.MapRps.predict_step = stop",
}
PROGRAM = """
import os, signal, sys, time
def stop(*args, **options):
    os.kill(os.getpid(), signal.{name})
    time.sleep(30)
{replace}
from rps.cli import main
sys.exit(main(["predict", "--config", "fake.yaml", "--output", "run"]))
"""


@pytest.mark.parametrize(("phase", "name"), [*((phase, "SIGTERM") for phase in PHASES), ("first batch", "SIGUSR1")])
def test_a_signal_at_any_moment_ends_the_run_with_one_sentence(phase, name):
    program = [sys.executable, "-c", PROGRAM.format(name=name, replace=PHASES[phase])]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 128 + getattr(signal, name), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("rps: interrupted"), done.stderr
    assert not Path("run").exists()


def test_forks_are_prepared_once_however_many_runs_a_process_has(monkeypatch):
    hooks = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook))
    for _ in range(3):
        with processes.stoppable(""), processes._heeded():
            pass
    assert len(hooks) <= 1


IGNORED = """
import signal, threading, time
from types import SimpleNamespace
for number in {ignored}:
    signal.signal(number, signal.SIG_IGN)
from rps.cli import processes
with processes.stoppable("early"), processes._heeded():
    processes._observe([SimpleNamespace(poll=lambda: -9, returncode=-9)], threading.Event())
    try:
        time.sleep(25)
    except processes.LostProcess as lost:
        print(lost)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ignored", ["[signal.SIGTERM]", "[*processes.STOPS]", "[*processes.STOPS, signal.SIGINT]"])
def test_a_lost_process_is_noticed_where_signals_are_ignored(ignored):
    program = "from rps.cli import processes\n" + IGNORED.format(ignored=ignored)
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert "another process of the run was killed (signal 9)" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "number", "code", "sentence"),
    [
        ("first", signal.SIGTERM, 143, "interrupted; "),
        ("second", signal.SIGTERM, 1, "another process of the run ended with code 143; "),
        ("second", signal.SIGKILL, 1, "another process of the run was killed (signal 9); "),
    ],
)
def test_a_process_that_ends_while_another_starts(which, number, code, sentence):
    """The first waits in C for the second, which is slow, and hears no signal meanwhile."""
    Path("sleepy.py").write_text(
        "import os, time\nif os.environ.get('LOCAL_RANK') == '1':\n    open('here', 'w').close()\n    time.sleep(90)\n"
        "from tests.resume_fakes import White as Sleepy\n"
    )
    run = started("--trainer.devices", "2", "--model.prior", "sleepy.Sleepy")
    deadline = time.monotonic() + 60
    while not Path("here").exists():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    second = children(run.pid)[-1]
    os.kill(run.pid if which == "first" else second, number)
    told, _ = run.communicate(timeout=60)
    assert run.returncode == code and told.startswith(f"rps: {sentence}") and len(told.splitlines()) == 1, told
    deadline = time.monotonic() + 30
    while Path(f"/proc/{second}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{second}").exists() and not Path("run").exists()
