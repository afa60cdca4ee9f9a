"""Runs that are broken on purpose: what is lost, how often, and whether it is said. The table of docs/reliability.md.

    python tools/reliability.py --write           # everything, then docs/reliability.md
    python tools/reliability.py --only pickles    # kills, overwrite, two, disk, signals, broken, ids, pickles

Every try is `rps predict` on six embedded images in a process of its own. It has gone wrong when a finished sample is
missing or counts twice in the end, when the figures differ from those of a run that nobody broke, or when it ends with
a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch.cli  # noqa: F401 - so that forked runs begin at once
import torch

import modules  # noqa: F401
import rps.callbacks
from datamodules import Embedded
from rps.cli import main as rps
from rps.records import read_records

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- tries -->\n", "<!-- end of tries -->"
SAMPLES = 6
RUN = [
    "predict", "--config", "demo", "--data.limit", str(SAMPLES), "--data.batch_size", "2", "--model.t0", "[0,50]",
    "--model.steps", "20", "--model.estimator.num_steps", "2", "--trainer.accelerator", "cpu",
]  # fmt: skip


@dataclass
class Tries:
    """What was tried so often, and what went wrong."""

    what: str
    expected: str
    count: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, fault: str | None) -> None:
        self.count += 1
        if fault:
            self.wrong.append(f"{name}: {fault}")
            print(f"  {self.wrong[-1]}", flush=True)

    def row(self) -> str:
        return f"| {self.what} | {self.count} | {self.expected} | {len(self.wrong)} |"


class WildIds(Embedded):
    """The first embedded images under other names."""

    def __init__(self, names: list[str] = [], limit: int | None = None, batch_size: int = 2) -> None:  # noqa: B006
        super().__init__(len(names), batch_size)
        self.names = names

    def samples(self) -> Any:
        return [(name, *rest) for name, (_, *rest) in zip(self.names, super().samples(), strict=False)]


def start(run: Path, *arguments: str, prepare: Callable[[], None] = lambda: None) -> int:
    """`rps predict` in a child process, whose output goes to RUN.log.  -> its id."""
    if child := os.fork():
        return child
    os.setsid()
    log = os.open(f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)
    torch.set_num_threads(1)
    torch.cuda._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    code = 99
    try:
        prepare()
        code = rps([*RUN, "--output", str(run), *arguments])
    finally:
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def text(run: Path) -> str:
    path = Path(f"{run}.log")
    return path.read_text(errors="replace") if path.is_file() else ""


def figures(run: Path) -> Any:
    """metrics.json without times, versions and what a second start adds."""
    found = json.loads((run / "metrics.json").read_text())
    for level in found["levels"]:
        del level["seconds_per_image"]
    return {key: found[key] for key in ("levels", "failed", "failures", "repeated_ids", "pseudo_inverse")}


def close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return abs(a - b) <= 1e-6 * max(1, abs(b)) if isinstance(a, float) and isinstance(b, float) else a == b


def fault(run: Path, whole: Any, code: int, allowed: tuple[int, ...] = (0,)) -> str | None:
    """What is wrong with a run that has ended."""
    if "Traceback" in text(run):
        return "a traceback"
    if code not in allowed:
        return f"exit code {code}: {text(run)[-200:]}"
    if code == 0 and not close(figures(run), whole):
        return "other figures than without"
    return left_behind(run)


def left_behind(run: Path) -> str | None:
    there = [*run.rglob(".*.part*"), *run.rglob(".rps-replaced")]
    return f"{there[0]} stays behind" if there else None


CHANGES = (
    (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (Path, "unlink"), (Path, "mkdir"),
    (Path, "rmdir"),
)  # fmt: skip


def killed_at(step: int) -> Callable[[], None]:
    """Makes the process kill itself before its step-th change of the file system."""
    left = [step]

    def counted(change: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return change(*args, **options)

        return wrapped

    def prepare() -> None:
        for place, name in CHANGES:
            setattr(place, name, counted(getattr(place, name)))

    return prepare


def kills(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries("kill -9 before every change of the file system, then the same command", "the figures of a whole run")
    step, code = 0, -9
    while code == -9:
        run = here / f"kill{step}"
        code = wait(start(run, prepare=killed_at(step)))
        if code == -9:
            tries.add(f"change {step}", fault(run, whole, wait(start(run))))
            shutil.rmtree(run, ignore_errors=True)
        step += 1
    yield tries


def overwrite(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "--overwrite killed before every third change, then the earlier command", "the earlier run, or a sentence"
    )
    other = ["--model.t0", "[0,100]", "--overwrite"]
    step, code = 0, -9
    while code == -9:
        run = here / f"over{step}"
        wait(start(run))
        code = wait(start(run, *other, prepare=killed_at(step)))
        replaced = "- 100" in (run / "config.yaml").read_text() if (run / "config.yaml").is_file() else False
        if code == -9 and replaced and not (run / ".rps-replaced").exists():
            break  # what follows is a run like any other
        if code == -9:
            again = wait(start(run))
            if again == 2 and "holds a run of another config" in text(run):
                found = None if wait(start(run, *other[:2])) == 0 else "the new run cannot be resumed"
                found = found or left_behind(run)
            else:
                found = fault(run, whole, again)
            tries.add(f"change {step}", found)
        shutil.rmtree(run, ignore_errors=True)
        step += 3
    yield tries
    tries = Tries("--overwrite by a run that cannot start", "the earlier run, bit for bit")
    run = here / "earlier"
    wait(start(run))
    for wrong in (
        ["--model.operator.factor", "5"],
        ["--trainer.callbacks", "MetricRecorder", "--trainer.callbacks.reference", "nowhere.safetensors"],
        [
            "--trainer.callbacks",
            "MetricRecorder",
            "--trainer.callbacks.metrics+=rps.metrics.Lpips",
            "--trainer.callbacks.metrics.weights",
            "no.pth",
        ],
        ["--model.prior", "rps.priors.DiffusersPrior.from_pretrained", "--model.prior.path", "nobody/nothing"],
        ["--data.skip", "5000"],
        ["--model.t0", "[5000]"],
    ):
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
        code = wait(start(run, *wrong, "--overwrite"))
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
        tries.add(" ".join(wrong), None if code in (1, 2) and before == after else f"exit code {code}, or files differ")
    yield tries


def two(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "two processes, one of which is killed at a random moment, then one process", "the figures of a whole run"
    )
    dice = random.Random(0)
    for i in range(10):
        run = here / f"two{i}"
        child = start(
            run, "--trainer.devices", "2", "--trainer.strategy", "ddp_fork", "--model.estimator.num_steps", "2"
        )
        time.sleep(dice.uniform(0.5, 4))
        with suppress(OSError, IndexError):
            tasks = Path(f"/proc/{child}/task").glob("*/children")
            os.kill([int(one) for task in tasks for one in task.read_text().split()][-1], signal.SIGKILL)
        wait(child)
        if "Traceback" in text(run):
            tries.add(f"try {i}", "a traceback")
            continue
        tries.add(f"try {i}", fault(run, whole, wait(start(run))))
    yield tries


def disk(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "a disk of 16 to 4,096 kB that is full, then room and the same command", "one sentence, then a whole run"
    )
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        print("  this system gives no mount namespace", flush=True)
        return
    for size in (16, 32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096):
        run = here / f"disk{size}"
        small = here / f"small{size}"
        script = (
            f"mkdir -p {small} && mount -t tmpfs -o size={size}k none {small} && "
            f"{sys.executable} -m rps.cli {' '.join(map(_quoted, RUN))} --output {small}/run >{run}.log 2>&1; code=$?; "
            f"cp -r {small}/run {run} 2>/dev/null; exit $code"
        )
        code = subprocess.run(["unshare", "-rm", "sh", "-c", script], check=False).returncode
        told = [line for line in text(run).splitlines() if line.startswith("rps: ")]
        if code not in (0, 2) or "Traceback" in text(run) or (code == 2 and "the disk is full" not in " ".join(told)):
            tries.add(f"{size} kB", f"exit code {code}: {told[-1:]}")
        else:
            tries.add(f"{size} kB", fault(run, whole, wait(start(run))))
    yield tries


def _quoted(argument: str) -> str:
    return f"'{argument}'"


def signals(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "SIGTERM and SIGINT every .25 s from the start, then the same command", "exit 143 or 130 and one sentence"
    )
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        moment, code = 0.25, expected
        while code == expected and moment < 20:
            run = here / f"signal{number}_{moment}"
            with open(f"{run}.log", "w") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "rps.cli", *RUN, "--output", str(run)], stdout=log, stderr=log
                )
                time.sleep(moment)
                child.send_signal(number)
                code = child.wait()
            told = [line for line in text(run).splitlines() if line.startswith("rps: ")]
            if code != expected and code != 0:
                tries.add(f"{number.name} after {moment} s", f"exit code {code}: {text(run)[-200:]}")
                code = expected
            elif code == expected:
                bad = None if len(told) == 1 and "Traceback" not in text(run) else f"said {told or text(run)[-200:]}"
                tries.add(f"{number.name} after {moment} s", bad or fault(run, whole, wait(start(run))))
            moment += 0.25
    yield tries


def broken(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "a finished run with one file removed, emptied, cut, garbled or copied; merged, compared, resumed",
        "whole, or one sentence",
    )
    good = here / "good"
    wait(start(good))
    dice = random.Random(0)
    files = [path for path in sorted(good.rglob("*")) if path.is_file() and path.name != ".lock"]
    kinds = {path.parent.name + path.suffix: path for path in files}
    for path in kinds.values():
        for how in ("removed", "emptied", "cut", "garbled", "copied"):
            run = here / "broken"
            shutil.rmtree(run, ignore_errors=True)
            Path(f"{run}.log").unlink(missing_ok=True)
            shutil.copytree(good, run)
            victim = run / path.relative_to(good)
            content = victim.read_bytes()
            if how == "removed":
                victim.unlink()
            elif how == "emptied":
                victim.write_bytes(b"")
            elif how == "cut":
                victim.write_bytes(content[: len(content) // 2])
            elif how == "garbled":
                victim.write_bytes(bytes(dice.randrange(256) for _ in content))
            else:
                victim.with_name(f"{victim.stem} (copy){victim.suffix}").write_bytes(content)
            code = wait(start(run))
            name = f"{path.relative_to(good)} {how}"
            tries.add(name, fault(run, whole, code, (0, 2)))
            for command in (["merge", str(run)], ["compare", str(run), str(good)]):
                done = subprocess.run(
                    [sys.executable, "-m", "rps.cli", *command], capture_output=True, text=True, check=False
                )
                tries.add(
                    f"{name}, {command[0]}",
                    None if done.returncode in (0, 2) and "Traceback" not in done.stderr else done.stderr[-200:],
                )
    yield tries


WILD = [
    "..", "../../up", "/etc/passwd", "a/b/c", "con", "nul.txt", ".hidden", "-rf", "a b", "a\tb", "a\nb", "a\x1b[2Jb",
    "a\rb", "\u00e4", "\u65e5\u672c", "\u202e", "x" * 300, "\u00e9" * 200, "a:b", "a*b?", '"quoted"', "'", "$(reboot)",
    "`id`", "%2e%2e", "a\\b", "{}", "<b>", "&amp;", "a~", "NaN",
]  # fmt: skip


def ids(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries(
        "ids that are paths, commands, escapes, long or of other scripts; a run, a merge, a second start",
        "every sample, nothing outside",
    )
    for name in WILD:
        run = here / f"id{WILD.index(name)}"
        data = [
            "--data",
            "reliability.WildIds",
            "--data.names",
            json.dumps([name, "other"]),
        ]
        before = set(here.iterdir())
        codes = [wait(start(run, *data)), wait(start(run, *data)), _quiet(["merge", str(run)])]
        bad = (
            None
            if codes == [0, 0, 0] and set(read_records(run).rows["restored", 0]) == {name, "other"}
            else f"exit codes {codes}"
        )
        if set(here.iterdir()) - before - {run, Path(f"{run}.log")} or "\x1b" in text(run):
            bad = "it wrote elsewhere, or raw to the terminal"
        tries.add(repr(name), bad or ("a traceback" if "Traceback" in text(run) else None))
    yield tries


def _quiet(command: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "rps.cli", *command], capture_output=True, check=False).returncode


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


def pickles(here: Path, whole: Any) -> Iterator[Tries]:
    tries = Tries("checkpoints that would run code when they are unpickled", "one sentence, and nothing runs")
    trace = here / "ran"
    touch = f"open({str(trace)!r}, 'w')"
    evil = [
        Evil(os.system, f"touch {trace}"), Evil(eval, touch), Evil(exec, touch), Evil(open, str(trace), "w"),
        Evil(subprocess.call, ["touch", str(trace)]), Evil(subprocess.run, ["touch", str(trace)]),
        Evil(Path.touch, trace), Evil(os.mkdir, str(trace)), Evil(shutil.copy, __file__, str(trace)),
        Evil(os.open, str(trace), os.O_CREAT), Evil(getattr, Path, "touch"), Evil(pickle.loads, pickle.dumps(1)),
    ]  # fmt: skip
    for number, thing in enumerate(evil):
        path = here / f"evil{number}.pt"
        torch.save({"conv_in.weight": torch.zeros(1), "evil": thing}, path)
        run = here / f"pickle{number}"
        prior = ["--model.prior", "rps.priors.GuidedDiffusionPrior", "--model.prior.path", str(path)]
        code = wait(start(run, *prior))
        bad = (
            None
            if code == 2 and not trace.exists() and "could run code and is refused" in text(run)
            else f"exit code {code}"
        )
        tries.add(f"pickle {number}", bad or ("a traceback" if "Traceback" in text(run) else None))
    yield tries


PARTS = {part.__name__: part for part in (kills, overwrite, two, disk, signals, broken, ids, pickles)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        wait(start(here / "whole"))
        whole = figures(here / "whole")
        for name in arguments.only:
            print(name, flush=True)
            begin = time.monotonic()
            for tries in PARTS[name](here, whole):
                rows.append(tries.row())
                print(f"{rows[-1]}  {time.monotonic() - begin:.0f} s", flush=True)
    if arguments.write:
        table = "\n".join(["| what was tried | times | expected | otherwise |", "|---|---:|---|---:|", *rows])
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
        print(f"Written:\n  {PAGE}")


if __name__ == "__main__":
    main()
