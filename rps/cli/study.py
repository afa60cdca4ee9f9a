"""rps study: several runs from one file, with one table and one figure."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.cli import arguments, processes, signals
from rps.cli.errors import InputError, SentenceParser, did_you_mean, is_bad_input, root_of, sentence
from rps.cli.predict import Run, run_predict
from rps.cli.quiet import quiet
from rps.cli.stage1 import stage1_settings
from rps.cli.streams import say, show, show_written

HELP = """\
usage: rps study FILE --output DIR [--tasks NAME ...] [--no_guides] [options of rps predict]

Run the runs that a study file lists, and report them together: DIR/table.md with the differences of every run to the
first one, paired over the samples; DIR/curves.png with the curves of all runs, or one figure per task; DIR/study.json.

  rps study step_size --output runs/step_size                six step sizes of stage 2, in about a minute
  rps study my_study.yaml --output runs/mine --data.limit 8  the same runs on fewer pictures

Repeating the command resumes. Before the first run starts, all configs are checked, with the settings of their methods
that do not depend on the prior or the data. Runs that differ only in stage 2
compute stage 1 once (DIR/.stage1, which may be removed); their results and costs are those of a run alone.

A study file has a title and runs, each with configs and values to set as for rps predict; all other keys may be left
out:
  title: step size of DPS
  common: {configs: [demo], set: {data.limit: 32}}      of every run
  runs:
    DPS: {}
    DDNM: {configs: [my_ddnm.yaml], set: {model.steps: 50}}
  grid: {model.noise: [0.05, 0.1]}                      repeats every run with each combination of values
  tasks: [sr4, inpaint]                                 repeats all runs; the task replaces TASK in names of configs,
                                                        as in embedded/TASK, and in values
  columns: [run, knob, RMSE, sqrt FD, consistency]      of the table
  baselines: true                                       lines for A^+ y and for the clean images
  figures: {dp_curve.png: curve}                        copies files of the first run instead of drawing all curves;
                                                        images: pictures draws the pictures of all runs, "": curves

options:
  --output DIR      the folder of the study, with a folder for each run; the study may grow, but another one is refused
  --tasks NAME ...  only these tasks
  --no_guides       leave out the reference curves of the figures that are drawn
  --config, --model.KEY, --data.KEY, --trainer.KEY, --seed, --metric, --overwrite, --retry_failed
                    passed on to every run, see rps --help

exit codes: those of rps predict; 3 if samples of any run failed.
"""
OWN = ("--output", "--tasks", "--no_guides")
PASSED = ("--config", "--seed", "--metric", "--overwrite", "--retry_failed")
"""Options of rps predict that a study passes on, besides those of model, data and trainer."""


def run_study(argv: Sequence[str]) -> int:
    """Runs the study.  argv: the arguments after `rps study`.  -> exit code."""
    from rps.study import begin, check_output, check_study, read_study, write_report
    from rps.study.report import STAGE1

    parser = SentenceParser("rps study", "a study file and an --output folder")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--output", required=True)
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--no_guides", dest="guides", action="store_false")
    given, passed = parser.parse_known_args(list(argv))
    _check_processes()
    study, output = read_study(arguments.find_config(given.file, "study", studies=True)), Path(given.output)
    check_output(output)
    check_study(study, output)
    tasks = _chosen(study.tasks, given.tasks)
    _check_passed(passed, study.varied)
    runs = [(name, task, output / study.folder(name, task)) for task in tasks for name in study.runs]
    names = [f"{task} {name}".strip() for name, task, _ in runs]
    commands = [[*study.runs[name].arguments(task), *passed, "--output", str(folder)] for name, task, folder in runs]
    configs = [_check(*of) for of in zip(names, commands, strict=True)]
    _check_columns(study.columns or (), configs)
    stage1 = [stage1_settings(config) for config in configs]
    begin(output)
    worst = 0
    for i, (name, argv) in enumerate(zip(names, commands, strict=True)):
        show(f"[{i + 1}/{len(runs)}] {name}")
        shared = ["--stage1", str(output / STAGE1)] if stage1[i] and stage1.count(stage1[i]) > 1 else []
        if (code := _predict([*argv, *shared])) not in (0, 3) or not (runs[i][2] / "metrics.json").is_file():
            say(f"the study stopped at {name}, with {i} of {len(runs)} runs done; the same command resumes")
            return code or 2
        worst = max(worst, code)
    files, troubles = write_report(study, tasks, output, given.guides)
    show("\n" + (output / "table.md").read_text(encoding="utf-8").strip())
    show_written([*files, *(f"{folder}/" for _, _, folder in runs)])
    for trouble in troubles:
        say(trouble)
    return worst


def _check_processes() -> None:
    """Errors: InputError under torchrun or srun with several tasks, each of which would do the whole study."""
    if any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS")):
        raise InputError(
            "rps study was started in several processes; start it once: its runs start their own (--trainer.devices)"
        )


def _chosen(tasks: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    for task in wanted or ():
        if task not in tasks:
            has = f"it has {', '.join(tasks)}" if any(tasks) else "it has none; leave out --tasks"
            raise InputError(f"--tasks {task}: the study has no such task; {has}")
    return [task for task in tasks if wanted is None or task in wanted]


def _check_passed(passed: Sequence[str], varied: frozenset[str]) -> None:
    """Errors: InputError for an option that is not passed on, and for one in which the runs of the study differ."""
    arguments.check_passed(passed, "rps study", PASSED, OWN)
    for option in (part.partition("=")[0] for part in passed if part.startswith("--")):
        if option.removeprefix("--") in varied:
            raise InputError(f"{option} would make the runs of the study alike, since these differ in it; leave it out")


def _check_columns(columns: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> None:
    """Errors: InputError for a column that none of these runs can fill; not checked if one has metrics of its own."""
    from rps.study import column_title, standard_columns

    known = standard_columns()
    callbacks = [callback for config in configs for callback in config["trainer"].get("callbacks") or ()]
    ours = [isinstance(of, Mapping) and str(of.get("class_path")).startswith("rps.callbacks.") for of in callbacks]
    if not all(ours) or any(of.get("init_args", {}).get("metrics") for of in callbacks):
        return
    for name in columns:
        if column_title(name) not in known:
            hint = did_you_mean(name, known) or f"the columns are {', '.join(known)}"
            raise InputError(f"{name!r} is not a column of the table of the study; {hint}")


def _check(name: str, argv: list[str]) -> dict[str, Any]:
    """Checks a run as far as that is possible without its prior and data.  -> its config. Errors: InputError."""
    try:
        with processes.tidy():
            quiet()
            return Run(argv).check()
    except Exception as error:
        if not is_bad_input(error, started=False):
            raise
        raise InputError(f"run {name}: {sentence(root_of(error))}") from error


def _predict(argv: list[str]) -> int:
    """Runs `rps predict` as if by itself: processes that it starts repeat its command, which Lightning reads from
    sys.argv.  -> exit code."""
    command: list[Any] = sys.argv[1:]
    sys.argv[1:] = ["predict", *argv]
    try:
        with signals.stoppable("interrupted before this run began; the same command resumes the study"):
            return run_predict(argv, brief=True)
    finally:
        sys.argv[1:] = command
        gc.collect()  # a module and its Trainer refer to each other, and priors are large
