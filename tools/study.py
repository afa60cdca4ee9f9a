"""A study: several runs of `rps predict` on one plane, as a file in tools/studies/ lists them.

    python tools/study.py tools/studies/traversals_sr4.yaml --write

A study file has a title; `common`, the configs and values of every run; and `runs`, each with some of its own. Finished
runs are not repeated, an unfinished one goes on. Prints a table; with --write, puts it between the markers of the study
in docs/PAGE.md, and the figure into docs/figures/.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rps.cli import main as rps
from rps.report.overlay import overlay_plot

DOCS = Path(__file__).parent.parent / "docs"


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

    @classmethod
    def read(cls, path: Path) -> Study:
        content = yaml.safe_load(path.read_text())
        runs = {name: Runs(**(own or {})) for name, own in content["runs"].items()}
        return cls(path.stem, content["title"], content["page"], Runs(**content["common"]), runs)

    def arguments(self, run: str) -> list[str]:
        """Of `rps predict`, without --output."""
        own = self.runs[run]
        values = {**self.common.set, **own.set}
        configs = [part for name in (*self.common.configs, *own.configs) for part in ("--config", name)]
        return configs + [part for k, v in values.items() for part in (f"--{k}", json.dumps(v))]


def result(study: Study, run: str, folder: Path) -> dict[str, Any]:
    """metrics.json of a run, which is run now unless it has been."""
    output = folder / study.name / re.sub(r"\W+", "_", run).strip("_")
    if not (output / "metrics.json").is_file():
        status = rps(["predict", *study.arguments(run), "--output", str(output)])
        if status:
            raise SystemExit(f"{run}: rps predict into {output} ended with exit code {status}")
    summary: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return summary


def table(results: dict[str, dict[str, Any]]) -> str:
    """A line per run and level: RMSE and sqrt(FD), with standard errors, and what they cost."""
    lines = ["| run | knob | RMSE | sqrt FD | PSNR | SSIM | calls |", "|---|---|---|---|---|---|---|"]
    for name, summary in results.items():
        for level in summary["levels"]:
            m = level["metrics"]
            lines.append(
                f"| {name} | {summary['knob']} {level['level']:g} | {m['rmse']['mean']:.4f} ({m['rmse']['se']:.4f}) "
                f"| {m['frechet']['sqrt']:.3f} ({m['frechet']['se_sqrt']:.3f}) | {m['psnr']['mean']:.2f} "
                f"| {m['ssim']['mean']:.3f} | {level['network_calls_per_image']:.0f} |"
            )
    return "\n".join(lines)


def write(study: Study, path: Path, text: str) -> None:
    """Replaces what stands between the study's markers in docs/PAGE.md."""
    page = DOCS / f"{study.page}.md"
    begin, end = f"<!-- {study.name} -->\n", f"<!-- end of {study.name} -->"
    before, found, rest = page.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page} has no lines {begin.strip()} and {end} to write between")
    figure = f"![{study.title}](figures/{study.name}.png)"
    command = f"    python tools/study.py {path} --write"
    page.write_text(f"{before}{begin}\n{command}\n\n{figure}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+", help="files in tools/studies/")
    parser.add_argument("--output", type=Path, default=Path("runs/studies"))
    parser.add_argument("--write", action="store_true", help="write docs/PAGE.md and docs/figures/")
    arguments = parser.parse_args()
    for path in arguments.studies:
        study = Study.read(path)
        results = {run: result(study, run, arguments.output) for run in study.runs}
        text = table(results)
        print(f"{study.title}\n\n{text}\n")
        figure = DOCS / "figures" if arguments.write else arguments.output / study.name
        overlay_plot(results, figure / f"{study.name}.png", study.title)
        if arguments.write:
            write(study, path, text)


if __name__ == "__main__":
    main()
