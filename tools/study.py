"""A study: several runs of `rps predict` on one plane, as a file in tools/studies/ lists them.

    python tools/study.py tools/studies/traversals.yaml --write

A study file has a title; `common`, the configs and values of every run; `runs`, each with some of its own; and, where
all runs are repeated for several tasks, `tasks`, whose names take the place of TASK in the names of configs. The same
command again resumes what is unfinished and repeats nothing; a run whose config has changed since is refused by
`rps predict`. Prints a table; with --write, puts it between the markers of the study in docs/PAGE.md, and a figure per
task into docs/figures/.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rps.cli import main as rps
from rps.report.overlay import overlay_plot

DOCS = Path(__file__).parent.parent / "docs"
Summaries = Mapping[str, Mapping[str, Any]]


@dataclass
class Runs:
    """configs: names or files, in order. set: dotted option -> value."""

    configs: list[str] = field(default_factory=list)
    set: dict[str, Any] = field(default_factory=dict)


@dataclass
class Study:
    name: str
    title: str
    page: str
    common: Runs
    runs: dict[str, Runs]
    tasks: list[str]

    @classmethod
    def read(cls, path: Path) -> Study:
        content = yaml.safe_load(path.read_text())
        runs = {name: Runs(**(own or {})) for name, own in content["runs"].items()}
        tasks = content.get("tasks", [""])
        return cls(path.stem, content["title"], content["page"], Runs(**content["common"]), runs, tasks)

    def arguments(self, run: str, task: str) -> list[str]:
        """Of `rps predict`, without --output."""
        own = self.runs[run]
        configs = [name.replace("TASK", task) for name in (*self.common.configs, *own.configs)]
        values = {**self.common.set, **own.set}
        return [part for name in configs for part in ("--config", name)] + [
            part for k, v in values.items() for part in (f"--{k}", v if isinstance(v, str) else json.dumps(v))
        ]

    def folder(self, run: str, task: str) -> Path:
        return Path(self.name) / task / re.sub(r"\W+", "_", run).strip("_")

    def figure(self, task: str) -> str:
        return "_".join(filter(None, (self.name, task))) + ".png"


def result(study: Study, run: str, task: str, output: Path) -> dict[str, Any]:
    """metrics.json of a run, which is run, or resumed, now."""
    folder = output / study.folder(run, task)
    status = rps(["predict", *study.arguments(run, task), "--output", str(folder)])
    if status:
        raise SystemExit(f"{run} {task}: rps predict into {folder} ended with exit code {status}")
    summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return summary


HEAD = (
    "task",
    "run",
    "knob",
    "RMSE",
    "sqrt FD",
    "minus its first level, paired",
    "PSNR",
    "SSIM",
    "calls",
    "lower in both",
)


def table(results: Mapping[str, Summaries]) -> str:
    """A line per task, run and level: RMSE and sqrt(FD), with standard errors, what they cost, and which points of
    other runs of the task are lower on both axes, however little.
    """
    lines = [
        [task, name, *cells(summary["knob"], level), lower(name, level, summaries)]
        for task, summaries in results.items()
        for name, summary in summaries.items()
        for level in summary["levels"]
    ]
    # A column that says nothing is left out.
    kept = [i for i in range(len(HEAD)) if any(line[i] for line in lines)]
    rows = [HEAD, ["---"] * len(HEAD), *lines]
    return "\n".join("| " + " | ".join(row[i] for i in kept) + " |" for row in rows)


def cells(knob: str, level: Mapping[str, Any]) -> list[str]:
    m, difference = level["metrics"], level.get("difference_to_first")
    change = ""
    if difference:
        rmse, root = difference["rmse"], difference["sqrt_frechet"]
        change = f"{rmse['mean']:+.4f} ({rmse['se']:.4f}), {root['value']:+.3f} ({root['se']:.3f})"
    return [
        f"{knob} {level['level']:g}",
        f"{m['rmse']['mean']:.4f} ({m['rmse']['se']:.4f})",
        f"{m['frechet']['sqrt']:.3f} ({m['frechet']['se_sqrt']:.3f})",
        change,
        f"{m['psnr']['mean']:.2f}",
        f"{m['ssim']['mean']:.3f}",
        f"{level['network_calls_per_image']:.0f}",
    ]


def lower(name: str, level: Mapping[str, Any], summaries: Summaries) -> str:
    """The points of other runs that are lower on both axes: the first two, and how many more."""

    def place(metrics: Mapping[str, Any]) -> tuple[float, float]:
        return metrics["rmse"]["mean"], metrics["frechet"]["sqrt"]

    x, y = place(level["metrics"])
    found = [
        f"{other} {point['level']:g}"
        for other, summary in summaries.items()
        for point in summary["levels"]
        if other != name and place(point["metrics"])[0] < x and place(point["metrics"])[1] < y
    ]
    return ", ".join(found[:2]) + (f" and {len(found) - 2} more" if len(found) > 2 else "")


def write(study: Study, path: Path, text: str) -> None:
    """Replaces what stands between the study's markers in docs/PAGE.md."""
    page = DOCS / f"{study.page}.md"
    begin, end = f"<!-- {study.name} -->\n", f"<!-- end of {study.name} -->"
    before, found, rest = page.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page} has no lines {begin.strip()} and {end} to write between")
    figures = "\n".join(f"![{study.title} {task}](figures/{study.figure(task)})" for task in study.tasks)
    command = f"    python tools/study.py {path} --write"
    page.write_text(f"{before}{begin}\n{command}\n\n{figures}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+", help="files in tools/studies/")
    parser.add_argument("--tasks", nargs="+", help="only these of the study's tasks; nothing is written then")
    parser.add_argument("--output", type=Path, default=Path("runs/studies"))
    parser.add_argument("--write", action="store_true", help="write docs/PAGE.md and docs/figures/")
    arguments = parser.parse_args()
    for path in arguments.studies:
        study = Study.read(path)
        tasks = [task for task in study.tasks if arguments.tasks is None or task in arguments.tasks]
        results = {task: {run: result(study, run, task, arguments.output) for run in study.runs} for task in tasks}
        text = table(results)
        print(f"{study.title}\n\n{text}\n")
        whole = arguments.write and arguments.tasks is None
        for task in tasks:
            folder = DOCS / "figures" if whole else arguments.output / study.name
            overlay_plot(results[task], folder / study.figure(task), f"{task}, {study.title}".removeprefix(", "))
        if whole:
            write(study, path, text)


if __name__ == "__main__":
    main()
