"""Run a study, several runs of `rps predict` that a file in tools/studies/ lists, and collect them in one table.

    python tools/study.py tools/studies/traversals.yaml --write

A study file has a title; `common`, the configs and values of every run; and `runs`, each with its own. Optional keys:
    tasks     repeat all runs; the name of the task replaces TASK in the names of configs;
    grid      dotted option -> values: every run is repeated with each combination;
    columns   of the table; by default all except consistency and seconds, without empty ones; cost is in forwards of
              the network per image, see rps/cost.py;
    baselines true adds lines for A^+ y and for the clean images;
    figures   file of the first run -> suffix: copied to docs/figures/STUDY_TASK_SUFFIX.png instead of a plot of all.
Repeating the command resumes unfinished runs; `rps predict` refuses a run whose config has changed. Prints a table;
with --write, also writes it between the study's markers in docs/PAGE.md, and a figure per task to docs/figures/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pages import DOCS, markdown, write_part

from rps.cli import main as rps
from rps.report.overlay import overlay_plot

Summaries = Mapping[str, Mapping[str, Any]]


def predict(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Runs or resumes `rps predict`.  -> its metrics.json."""
    status = rps(["predict", *arguments, "--output", str(folder)])
    if status:
        raise SystemExit(f"rps predict into {folder} ended with exit code {status}")
    summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return summary


@dataclass
class Runs:
    """The settings of runs.  configs: names or files, in order. set: dotted option -> value."""

    configs: list[str] = field(default_factory=list)
    set: dict[str, Any] = field(default_factory=dict)

    def __or__(self, other: Runs) -> Runs:
        return Runs([*self.configs, *other.configs], {**self.set, **other.set})

    def arguments(self, task: str) -> list[str]:
        """The arguments of `rps predict`, without --output."""
        options = [("--config", name.replace("TASK", task)) for name in self.configs]
        options += [(f"--{k}", v if isinstance(v, str) else json.dumps(v)) for k, v in self.set.items()]
        return [part for option in options for part in option]


@dataclass
class Study:
    """A study file.  runs: name -> settings, including the common ones and the values of the grid."""

    name: str
    title: str
    runs: dict[str, Runs]
    tasks: list[str]
    page: str | None = None
    columns: list[str] | None = None
    baselines: bool = False
    figures: dict[str, str] | None = None

    @classmethod
    def read(cls, path: Path) -> Study:
        content = yaml.safe_load(path.read_text())
        common, grid, runs = Runs(**content.pop("common")), content.pop("grid", {}), {}
        for name, own in content.pop("runs").items():
            for values in itertools.product(*grid.values()):
                at = dict(zip(grid, values, strict=True))
                label = ", ".join([name, *(f"{option.rpartition('.')[2]} {value}" for option, value in at.items())])
                runs[label] = common | Runs(**(own or {})) | Runs(set=at)
        return cls(path.stem, content.pop("title"), runs, content.pop("tasks", [""]), **content)

    def folder(self, run: str, task: str) -> Path:
        return Path(self.name) / task / re.sub(r"\W+", "_", run).strip("_")

    def plots(self, task: str) -> dict[str, str]:
        """File of the first run -> name of a figure; "" is the plot of all runs."""
        wanted = {"": ""} if self.figures is None else self.figures
        return {file: "_".join(filter(None, (self.name, task, suffix))) + ".png" for file, suffix in wanted.items()}

    def draw(self, task: str, results: Summaries, output: Path, figures: Path) -> None:
        for file, name in self.plots(task).items():
            if file:
                run = output / self.folder(next(iter(self.runs)), task)
                shutil.copy(sorted(run.glob(file))[0], figures / name)
            else:
                overlay_plot(results, figures / name, f"{task}, {self.title}".removeprefix(", "))

    def write(self, path: Path, text: str) -> None:
        """Writes the table and figures to docs/PAGE.md, between the study's markers."""
        names = [(task, name) for task in self.tasks for name in self.plots(task).values()]
        figures = "\n".join(f"![{self.title} {task}](figures/{name})" for task, name in names)
        parts = [f"    python tools/study.py {path} --write", *filter(None, [figures]), text]
        write_part(str(self.page), self.name, "\n" + "\n\n".join(parts) + "\n")


def change(level: Mapping[str, Any]) -> str:
    if not (difference := level.get("difference_to_first")):
        return ""
    error, distance = difference["rmse"], difference["sqrt_frechet"]
    return f"{error['mean']:+.4f} ({error['se']:.4f}), {distance['value']:+.3f} ({distance['se']:.3f})"


def of(place: str, form: str, error: str | None = None) -> Callable[[Mapping[str, Any]], str]:
    """A function from an entry to the text of its value at a dotted place, with standard error; "" if missing."""

    def text(entry: Mapping[str, Any]) -> str:
        values = []
        for path in filter(None, (place, error)):
            found: Any = entry
            for name in path.split("."):
                found = found.get(name, {})
            values.append("" if found in ({}, None) else form.format(found))
        return values[0] if len(values) == 1 or not values[0] else f"{values[0]} ({values[1]})"

    return text


FIGURES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "RMSE": of("metrics.rmse.mean", "{:.4f}", "metrics.rmse.se"),
    "sqrt FD": of("metrics.frechet.sqrt", "{:.3f}", "metrics.frechet.se_sqrt"),
    "minus its first level, paired": change,
    "PSNR": of("metrics.psnr.mean", "{:.2f}"),
    "SSIM": of("metrics.ssim.mean", "{:.3f}"),
    "consistency": of("metrics.consistency.mean", "{:.3f}"),
    "cost": of("forward_equivalents_per_image", "{:.0f}"),
    "seconds": of("seconds_per_image", "{:.2f}"),
}
"""Column of the table -> function from an entry of "levels" in metrics.json to its text."""


def table(results: Mapping[str, Summaries], columns: list[str] | None = None, baselines: bool = False) -> str:
    """A line per task, run and level: RMSE and sqrt(FD) with standard errors, the cost, and the points of other runs
    of the task that are lower on both axes, by any amount.
    """
    lines = []
    for task, summaries in results.items():
        first: Mapping[str, Any] = next(iter(summaries.values()))
        for name, key in (("A^+ y", "pseudo_inverse"), ("clean images", "reference")) if baselines else ():
            lines.append({"task": task, "run": name, **{k: of(first[key]) for k, of in FIGURES.items()}})
        for name, summary in summaries.items():
            for level in summary["levels"]:
                figures = {column: of(level) for column, of in FIGURES.items()}
                knob = f"{summary['knob']} {level['level']:g}"
                lines.append({"task": task, "run": name, "knob": knob, **figures, LOWER: lower(name, level, summaries)})
    every = ["task", "run", "knob", *(name for name in FIGURES if name not in ("consistency", "seconds")), LOWER]
    kept = columns or [column for column in every if any(line.get(column) for line in lines)]
    return markdown(kept, ([line.get(column, "") for column in kept] for line in lines))


LOWER = "lower in both"


def lower(name: str, level: Mapping[str, Any], summaries: Summaries) -> str:
    """The points of other runs that are lower on both axes: the first two, and the number of others."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+", help="files in tools/studies/")
    parser.add_argument("--tasks", nargs="+", help="run only these tasks of the study; disables --write")
    parser.add_argument("--output", type=Path, default=Path("runs/studies"))
    parser.add_argument("--write", action="store_true", help="write docs/PAGE.md and docs/figures/")
    arguments = parser.parse_args()
    for path in arguments.studies:
        study = Study.read(path)
        tasks = [task for task in study.tasks if arguments.tasks is None or task in arguments.tasks]
        results = {
            task: {
                name: predict(run.arguments(task), arguments.output / study.folder(name, task))
                for name, run in study.runs.items()
            }
            for task in tasks
        }
        text = table(results, study.columns, study.baselines)
        print(f"{study.title}\n\n{text}\n")
        whole = arguments.write and arguments.tasks is None and study.page is not None
        for task in tasks:
            folder = DOCS / "figures" if whole else arguments.output / study.name
            study.draw(task, results[task], arguments.output, folder)
        if whole:
            study.write(path, text)


if __name__ == "__main__":
    main()
