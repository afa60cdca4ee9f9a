"""Processes that Lightning starts itself, and those that SLURM starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
        assert "the same command goes on from there" in told[-1], told[-1]
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
