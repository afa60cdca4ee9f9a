"""Inject faults into runs and count what is lost: the table of docs/reliability.md.

    python tools/reliability.py --write           # everything, then docs/reliability.md
    python tools/reliability.py --only pickles    # kills, overwrite, two, disk, signals, broken, ids, pickles

Every trial is `rps predict` on six embedded images in its own process. It fails if a finished sample is missing or
counted twice, if the figures differ from those of an undisturbed run, or if it ends with a traceback.
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
from pathlib import Path
from typing import Any

import lightning.pytorch.cli  # noqa: F401 - so that forked runs start at once
import torch
from pages import markdown, write_part

import modules  # noqa: F401
import rps.callbacks
from datamodules import Embedded
from rps.cli import main as rps
from rps.records import read_records

SAMPLES = 6
RUN = [
    "predict", "--config", "demo", "--data.limit", str(SAMPLES), "--data.batch_size", "2", "--model.t0", "[0,50]",
    "--model.steps", "20", "--model.estimator.num_steps", "2", "--trainer.accelerator", "cpu",
]  # fmt: skip
RPS = [sys.executable, "-m", "rps.cli"]
Found = Iterator[tuple[str, str | None]]
"""(name of a trial, what went wrong or None)."""

Part = Callable[[Path, Any], Found]
"""(folder to work in, figures of an undisturbed run) -> trials."""

PARTS: list[tuple[Part, str, str]] = []


def trial(what: str, expected: str) -> Callable[[Part], Part]:
    """Adds a line of the table; --only selects it by the first word of the function's name."""
    return lambda part: PARTS.append((part, what, expected)) or part  # type: ignore[func-returns-value]


class WildIds(Embedded):
    """The first embedded images under other names."""

    def __init__(self, names: list[str] = [], limit: int | None = None, batch_size: int = 2) -> None:  # noqa: B006
        super().__init__(len(names), batch_size)
        self.names = names

    def samples(self) -> Any:
        return [(name, *rest) for name, (_, *rest) in zip(self.names, super().samples(), strict=False)]


def predict(run: Path, *arguments: str, prepare: Callable[[], None] = lambda: None) -> int:
    """Runs `rps predict` in a child process, with its output in RUN.log.  -> its exit code, or minus a signal."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
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


def text(run: Path) -> str:
    path = Path(f"{run}.log")
    return path.read_text(errors="replace") if path.is_file() else ""


def messages(run: Path) -> list[str]:
    return [line for line in text(run).splitlines() if line.startswith("rps: ")]


def figures(run: Path) -> Any:
    """metrics.json without times, versions and what a resumed run adds."""
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
    """What is wrong with a run that has ended; None if nothing is."""
    if "Traceback" in text(run):
        return "a traceback"
    if code not in allowed:
        return f"exit code {code}: {text(run)[-200:]}"
    if code == 0 and not close(figures(run), whole):
        return "figures differ from an undisturbed run"
    return left_behind(run)


def left_behind(run: Path) -> str | None:
    there = [*run.rglob(".*.part*"), *run.rglob(".rps-replaced")]
    return f"{there[0]} was left behind" if there else None


CHANGES = (
    (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (Path, "unlink"), (Path, "mkdir"),
    (Path, "rmdir"),
)  # fmt: skip


def killed_at(step: int) -> Callable[[], None]:
    """A function that makes the process kill itself before its step-th change to the file system."""
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


@trial("kill -9 before every change to the file system, then the same command", "figures of an undisturbed run")
def kills(here: Path, whole: Any) -> Found:
    step = 0
    while predict(run := here / f"kill{step}", prepare=killed_at(step)) == -9:
        yield f"change {step}", fault(run, whole, predict(run))
        shutil.rmtree(run, ignore_errors=True)
        step += 1


@trial("--overwrite killed before every third change, then the earlier command", "the earlier run, or one message")
def overwrite(here: Path, whole: Any) -> Found:
    other = ["--model.noise", "0.25", "--overwrite"]
    step, code = 0, -9
    while code == -9:
        run = here / f"over{step}"
        predict(run)
        code = predict(run, *other, prepare=killed_at(step))
        replaced = (run / "config.yaml").is_file() and "noise: 0.25" in (run / "config.yaml").read_text()
        if code != -9 or (replaced and not (run / ".rps-replaced").exists()):
            break  # from here on it is an ordinary run
        again = predict(run)
        if again == 2 and "holds a run of another config" in text(run):
            resumed = predict(run, *other[:2]) == 0
            yield f"change {step}", left_behind(run) if resumed else "the new run cannot be resumed"
        else:
            yield f"change {step}", fault(run, whole, again)
        shutil.rmtree(run, ignore_errors=True)
        step += 3


RECORDER = ["--trainer.callbacks", "MetricRecorder"]
CANNOT_START = (
    ["--model.operator.factor", "5"],
    [*RECORDER, "--trainer.callbacks.MetricRecorder.reference", "nowhere.safetensors"],
    [*RECORDER, "--metric", "{class_path: Lpips, init_args: {weights: no.pth}}"],
    ["--model.prior", "rps.priors.DiffusersPrior.from_pretrained", "--model.prior.path", "nobody/nothing"],
    ["--data.skip", "5000"],
    ["--model.t0", "[5000]"],
)


@trial("--overwrite by a run that cannot start", "the earlier run, bit for bit")
def overwrite_that_fails(here: Path, whole: Any) -> Found:
    run = here / "earlier"
    predict(run)

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}

    for wrong in CANNOT_START:
        before = content()
        code = predict(run, *wrong, "--overwrite")
        same = code in (1, 2) and before == content()
        yield " ".join(wrong), None if same else f"exit code {code}, or files differ"


@trial("two processes, one of which is killed at a random moment, then one process", "figures of an undisturbed run")
def two(here: Path, whole: Any) -> Found:
    dice = random.Random(0)
    for i in range(10):
        run = here / f"two{i}"
        command = [*RPS, *RUN, "--output", str(run), "--trainer.devices", "2"]
        with open(f"{run}.log", "w") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log)
        time.sleep(dice.uniform(5, 20))  # mostly the time of its imports
        with suppress(OSError, IndexError):
            tasks = Path(f"/proc/{child.pid}/task").glob("*/children")
            os.kill([int(one) for task in tasks for one in task.read_text().split()][-1], signal.SIGKILL)
        child.wait()
        yield f"trial {i}", "a traceback" if "Traceback" in text(run) else fault(run, whole, predict(run))


SIZES = (16, 32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096)


@trial("a full disk of 16 to 4,096 kB, then space and the same command", "one message, then a complete run")
def disk(here: Path, whole: Any) -> Found:
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        print("  skipped: this system has no mount namespaces", flush=True)
        return
    for size in SIZES:
        run, small = here / f"disk{size}", here / f"small{size}"
        command = " ".join(f"'{argument}'" for argument in (*RPS, *RUN))
        script = (
            f"mkdir -p {small} && mount -t tmpfs -o size={size}k none {small} && "
            f"{command} --output {small}/run >{run}.log 2>&1; code=$?; "
            f"cp -r {small}/run {run} 2>/dev/null; exit $code"
        )
        code = subprocess.run(["unshare", "-rm", "sh", "-c", script], check=False).returncode
        said = code == 0 or (code == 2 and "the disk is full" in " ".join(messages(run)))
        wrong = None if said and "Traceback" not in text(run) else f"exit code {code}: {messages(run)[-1:]}"
        yield f"{size} kB", wrong or fault(run, whole, predict(run))


@trial("SIGTERM and SIGINT every .25 s from the start, then the same command", "exit 143 or 130 and one message")
def signals(here: Path, whole: Any) -> Found:
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        for moment in (quarter / 4 for quarter in range(1, 80)):
            run = here / f"signal{number}_{moment}"
            with open(f"{run}.log", "w") as log:
                child = subprocess.Popen([*RPS, *RUN, "--output", str(run)], stdout=log, stderr=log)
                time.sleep(moment)
                child.send_signal(number)
                code = child.wait()
            if code == 0:
                break
            said = code == expected and len(messages(run)) == 1 and "Traceback" not in text(run)
            wrong = None if said else f"exit code {code}, message {messages(run) or text(run)[-200:]}"
            yield f"{number.name} after {moment} s", wrong or fault(run, whole, predict(run))


DICE = random.Random(0)
DAMAGES: dict[str, Callable[[Path, bytes], Any]] = {
    "removed": lambda path, content: path.unlink(),
    "emptied": lambda path, content: path.write_bytes(b""),
    "cut": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "garbled": lambda path, content: path.write_bytes(DICE.randbytes(len(content))),
    "copied": lambda path, content: path.with_name(f"{path.stem} (copy){path.suffix}").write_bytes(content),
}


@trial(
    "a finished run with one file removed, emptied, cut, garbled or copied; merged, compared, resumed",
    "complete, or one message",
)
def broken(here: Path, whole: Any) -> Found:
    good, run = here / "good", here / "broken"
    predict(good)
    files = [path for path in sorted(good.rglob("*")) if path.is_file() and path.name != ".lock"]
    kinds = {path.parent.name + path.suffix: path.relative_to(good) for path in files}
    for path in kinds.values():
        for how, damage in DAMAGES.items():
            shutil.rmtree(run, ignore_errors=True)
            Path(f"{run}.log").unlink(missing_ok=True)
            shutil.copytree(good, run)
            damage(run / path, (run / path).read_bytes())
            yield f"{path} {how}", fault(run, whole, predict(run), (0, 2))
            for command in (["merge", str(run)], ["compare", str(run), str(good)]):
                done = subprocess.run([*RPS, *command], capture_output=True, text=True, check=False)
                fine = done.returncode in (0, 2) and "Traceback" not in done.stderr
                yield f"{path} {how}, {command[0]}", None if fine else done.stderr[-200:]


WILD = [
    "..", "../../up", "/etc/passwd", "a/b/c", "con", "nul.txt", ".hidden", "-rf", "a b", "a\tb", "a\nb", "a\x1b[2Jb",
    "a\rb", "\u00e4", "\u65e5\u672c", "\u202e", "x" * 300, "\u00e9" * 200, "a:b", "a*b?", '"quoted"', "'", "$(reboot)",
    "`id`", "%2e%2e", "a\\b", "{}", "<b>", "&amp;", "a~", "NaN",
]  # fmt: skip


@trial(
    "ids that are paths, commands, escapes, long or in other scripts; run, merged, resumed",
    "every sample, no files elsewhere",
)
def ids(here: Path, whole: Any) -> Found:
    for i, name in enumerate(WILD):
        run, before = here / f"id{i}", set(here.iterdir())
        data = ["--data", "reliability.WildIds", "--data.names", json.dumps([name, "other"])]
        merge = [*RPS, "merge", str(run)]
        codes = [predict(run, *data), predict(run, *data), subprocess.run(merge, capture_output=True).returncode]
        wrong = "a traceback" if "Traceback" in text(run) else None
        if codes != [0, 0, 0] or set(read_records(run).rows["restored", 0]) != {name, "other"}:
            wrong = f"exit codes {codes}"
        if set(here.iterdir()) - before - {run, Path(f"{run}.log")} or "\x1b" in text(run):
            wrong = "files elsewhere, or raw escapes on the terminal"
        yield repr(name), wrong


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


@trial("checkpoints that would run code when unpickled", "one message, and nothing runs")
def pickles(here: Path, whole: Any) -> Found:
    trace = here / "ran"
    touch = f"open({str(trace)!r}, 'w')"
    evil = [
        Evil(os.system, f"touch {trace}"), Evil(eval, touch), Evil(exec, touch), Evil(open, str(trace), "w"),
        Evil(subprocess.call, ["touch", str(trace)]), Evil(subprocess.run, ["touch", str(trace)]),
        Evil(Path.touch, trace), Evil(os.mkdir, str(trace)), Evil(shutil.copy, __file__, str(trace)),
        Evil(os.open, str(trace), os.O_CREAT), Evil(getattr, Path, "touch"), Evil(pickle.loads, pickle.dumps(1)),
    ]  # fmt: skip
    for number, thing in enumerate(evil):
        path, run = here / f"evil{number}.pt", here / f"pickle{number}"
        torch.save({"conv_in.weight": torch.zeros(1), "evil": thing}, path)
        code = predict(run, "--model.prior", "rps.priors.GuidedDiffusionPrior", "--model.prior.path", str(path))
        refused = code == 2 and not trace.exists() and "could run code and is refused" in text(run)
        wrong = None if refused else f"exit code {code}"
        yield f"pickle {number}", wrong or ("a traceback" if "Traceback" in text(run) else None)


def main() -> None:
    names = list(dict.fromkeys(part.__name__.split("_")[0] for part, *_ in PARTS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.only != names:
        parser.error("--write writes the whole table; leave out --only")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        predict(here / "whole")
        whole = figures(here / "whole")
        for part, what, expected in PARTS:
            if part.__name__.split("_")[0] not in arguments.only:
                continue
            print(part.__name__, flush=True)
            begin, found = time.monotonic(), []
            for name, wrong in part(here, whole):
                found.append(wrong)
                if wrong:
                    print(f"  {name}: {wrong}", flush=True)
            rows.append([what, str(len(found)), expected, str(sum(map(bool, found)))])
            print(*rows[-1], f"{time.monotonic() - begin:.0f} s", sep=" | ", flush=True)
    if arguments.write:
        write_part("reliability", "tries", markdown(["fault", "trials", "expected", "otherwise"], rows))
        print("Written:\n  docs/reliability.md")


if __name__ == "__main__":
    main()
