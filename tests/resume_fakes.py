"""A real solver on a prior that costs nothing, data that go wrong on purpose, and runs that can be killed."""

import importlib.util
import json
import os
import signal
import socket
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch.cli  # noqa: F401 - so that forked runs begin at once
import pandas  # noqa: F401 - pyarrow does
import pyarrow.parquet  # noqa: F401
import torch
from lightning.pytorch.strategies.launchers import subprocess_script
from lightning.pytorch.utilities import rank_zero_only

import modules  # noqa: F401
import rps.callbacks
import rps.cli.loop
import rps.metrics  # noqa: F401
from datamodules import SampleDataModule
from rps.cli import main
from rps.operators import LinearOperator
from rps.priors import Prior
from rps.schedule import Schedule

CONFIG = """
model:
  class_path: modules.MapRps
  init_args:
    prior: {class_path: tests.resume_fakes.White}
    operator: {class_path: tests.resume_fakes.EveryOther}
    noise: 0.1
    t0: [0, 50]
    steps: 40
    estimator: {class_path: rps.estimators.MapEstimator, init_args: {num_steps: 2}}
data: {class_path: tests.resume_fakes.Greys, init_args: {count: 13, batch_size: 2}}
trainer:
  accelerator: cpu
  callbacks:
    - {class_path: rps.callbacks.MetricRecorder, init_args: {features: {class_path: tests.rps.predictions.Blocks}}}
    - {class_path: rps.callbacks.ImageWriter}
    - {class_path: rps.callbacks.GridWriter}
"""


class White(Prior):
    """x_0 ~ N(0, I).  seconds: that a call takes. nan_above: images of a larger mean come out as NaN. refuses: every
    call raises."""

    def __init__(self, seconds: float = 0.0, nan_above: float = 9.0, refuses: bool = False):
        super().__init__()
        self.schedule, self.sample_shape = Schedule.linear(), (1, 8, 8)
        self.seconds, self.nan_above, self.refuses = seconds, nan_above, refuses

    def denoise(self, x, t):
        if self.refuses:
            raise RuntimeError("not today")
        time.sleep(self.seconds)
        alpha, sigma = self.schedule.at(t, x)
        x0 = alpha * x / (alpha**2 + sigma**2)
        bad = (x0.mean(dim=(1, 2, 3)) > self.nan_above).view(-1, 1, 1, 1)
        return self.from_x0(x, x0.masked_fill(bad, torch.nan), t)


class SlowSecond(White):
    """Calls of the second process take a minute."""

    def __init__(self):
        super().__init__(60.0 if os.environ.get("RANK") == "1" else 0.0)


class Picky(White):
    """Refuses to start in the second process."""

    def __init__(self):
        super().__init__()
        self.needs = ("nothing", "x") if os.environ.get("LOCAL_RANK") == "1" else None


class Weighted(White):
    """The same with a number from a file."""

    def __init__(self, path: str = ""):
        super().__init__()
        self.register_buffer("number", torch.load(path, weights_only=True))


class EveryOther(LinearOperator):
    """y = every other column of x.  refuse_above: an image of a larger mean raises, together with its batch."""

    def __init__(self, refuse_above: float = 9.0, message: str = "too bright"):
        super().__init__()
        self.refuse_above, self.message = refuse_above, message

    def forward(self, x):
        if x.shape[-1] == 8 and bool((x.mean(dim=(1, 2, 3)) > self.refuse_above).any()):
            raise RuntimeError(self.message)
        return x[..., ::2]


class Greys(SampleDataModule):
    """Pictures of one grey each, "00" the darkest.  broken: cannot be read. tiny: are of one pixel."""

    def __init__(
        self,
        count: int = 13,
        batch_size: int = 2,
        num_workers: int = 0,
        limit: int | None = None,
        broken: list[int] = [],  # noqa: B006 - read, never changed
        tiny: list[int] = [],  # noqa: B006
        skip: int = 0,
    ):
        super().__init__(batch_size, num_workers, limit, skip)
        self.count, self.broken, self.tiny = count, broken, tiny

    def samples(self):
        return [
            (f"{i:02d}", Grey(i / self.count, i in self.broken, 1 if i in self.tiny else 8)) for i in range(self.count)
        ]

    def total(self):
        return self.count


class Grey:
    def __init__(self, value: float, broken: bool, size: int):
        self.value, self.broken, self.size = value, broken, size

    def __call__(self):
        if self.broken:
            raise OSError("rotten")
        pattern = 0.1 * torch.linspace(-1, 1, self.size**2).view(1, self.size, self.size)
        return 2 * self.value - 1 + pattern


def start(
    *arguments: str, output: str = "run", processes: int = 1, by: str = "torchrun", before=None, after=None
) -> int:
    """`rps predict` with fake.yaml in a child, on so many processes.  -> its id.  The rest as in `fork`."""
    several = ["--trainer.devices", str(processes)] if processes > 1 else []
    command = ["predict", "--config", "fake.yaml", "--output", output, *several, *arguments]
    return fork(command, processes, by, before, after)


def fork(command: list[str], processes: int = 1, by: str = "torchrun", before=None, after=None) -> int:
    """`rps` in a child of its own process group, which has imported all that this process has.  -> its id.

    by: who starts these; "Lightning" itself starts one that imports everything anew, or, if "Lightning, forked", one
    that is forked from the first. before, after: called in the child.
    """
    if child := os.fork():
        return child
    os.setsid()
    sys.stdout = sys.stderr = open("log", "a", buffering=1)  # noqa: SIM115 - until the process ends
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    code = 99
    try:
        torch.set_num_threads(1)
        # A test before may have asked which devices there are, which forbids CUDA in a fork. These runs take the CPU.
        torch.cuda._is_in_bad_fork = lambda: False
        if before is not None:
            before()
        if processes > 1 and by in ("torchrun", "srun"):
            code = _tasks(command, processes, by)
        else:
            if by == "Lightning, forked":
                subprocess_script.subprocess = SimpleNamespace(Popen=Forked)
            import __main__

            __main__.__spec__ = importlib.util.find_spec("rps.cli.__main__")
            sys.argv[1:] = command
            os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # of the process that Lightning starts
            code = main(command)
        if after is not None:
            after()
    finally:
        os._exit(code)


class Forked(get_context("fork").Process):  # type: ignore[misc]
    """What Lightning's launcher calls subprocess.Popen for, without five seconds of imports."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: str | None):
        super().__init__()
        self.command, self.environment = command, env
        self.start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        rank_zero_only.rank = int(self.environment["LOCAL_RANK"])  # as when Lightning is imported
        sys.exit(main(self.command[self.command.index("predict") :]))

    def poll(self) -> int | None:
        return self.exitcode

    wait = get_context("fork").Process.join


def _tasks(command: list[str], n: int, by: str) -> int:
    """n processes of one run, with the variables of torchrun or of srun.  -> the first exit code that is not 0.

    torchrun ends all when one fails; srun does not.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    running, codes = set(), []
    for rank in range(n):
        own = {
            "torchrun": {
                "TORCHELASTIC_RUN_ID": "test", "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": n,
                "LOCAL_WORLD_SIZE": n,
            },
            "srun": {
                "SLURM_JOB_ID": 40000 + os.getpid(), "SLURM_JOB_NAME": "restore", "SLURM_NTASKS": n,
                "SLURM_NTASKS_PER_NODE": n, "SLURM_NNODES": 1, "SLURM_NODELIST": "localhost", "SLURM_NODEID": 0,
                "SLURM_PROCID": rank, "SLURM_LOCALID": rank,
            },
        }[by]  # fmt: skip
        if child := os.fork():
            running.add(child)
            continue
        code = 99
        try:
            os.environ.update(place, **{name: str(value) for name, value in own.items()})
            rank_zero_only.rank = rank  # as when Lightning is imported
            code = main(command)
        finally:
            os._exit(code)
    while running:
        child, status = os.wait()
        running.discard(child)
        codes.append(os.waitstatus_to_exitcode(status))
        if codes[-1] and by == "torchrun":
            for other in running:
                os.kill(other, signal.SIGTERM)
    return next((code if code > 0 else 128 - code for code in codes if code), 0)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(*arguments: str, **options) -> int:
    return wait(start(*arguments, **options))


def kill(child: int) -> None:
    """-9, with all its processes."""
    os.killpg(child, signal.SIGKILL)
    wait(child)


def log() -> str:
    """What all runs of `start` have printed."""
    return Path("log").read_text()


def count() -> int:
    """Files of rows in the folder run."""
    return len(list(Path("run").glob("records/[!.]*.parquet")))


def children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def more_records_than(files: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while count() <= files:
        assert time.monotonic() < deadline, f"no record beyond the {files} that were there, after {seconds} s; {log()}"
        time.sleep(0.02)


def metrics(output: str = "run") -> dict:
    """metrics.json without times."""
    found = json.loads(Path(output, "metrics.json").read_text())
    for level in found["levels"]:
        del level["seconds_per_image"]
    return found


def close(a: object, b: object, tolerance: float = 1e-5) -> bool:
    """Equal, numbers up to a tolerance."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance * max(1, abs(b))
    return a == b


class Twins(SampleDataModule):
    """Two files with the samples "a", "twin" and "b", "twin"."""

    def __init__(self, batch_size: int = 2, num_workers: int = 0):
        super().__init__(batch_size, num_workers)

    def samples(self):
        return TwoFiles()


class TwoFiles:
    num_shards = 2

    def shard(self, index):
        return iter([(name, Grey(0.3 + 0.2 * index, False, 8)) for name in ("ab"[index], "twin")])

    def __iter__(self):
        return (sample for index in range(2) for sample in self.shard(index))
