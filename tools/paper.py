"""Make the counterpart of every figure and table of the paper (arXiv 2605.28711) on the embedded priors, in one folder.

    python tools/paper.py --output runs/paper                     # all parts; resumes
    python tools/paper.py --output runs/paper --part solvers      # one that fits into an hour on two cores
    python tools/paper.py --list                                  # the parts, and the commands of the published runs
    python tools/paper.py --output runs/paper --write             # what is finished, to docs/

A part is some studies (tools/paper.yaml): `rps study tools/studies/NAME.yaml --output OUTPUT/studies/NAME`. Other
options are passed on to their runs (--trainer.accelerator auto). A finished study is not repeated; remove its folder to
repeat it. OUTPUT/paper.md shows the tables and figures of the finished ones, with their time and cost, and names the
others. Parts may run at the same time, each in a process.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pages import DOCS, markdown, write_part, write_study

from rps.cli.arguments import check_passed
from rps.cli.errors import InputError
from rps.cli.study import OWN, PASSED
from rps.records.files import level_name, write_text
from rps.report.curve import plane_point
from rps.study import read_study

TOOLS = Path(__file__).resolve().parent
NOBODY = "not run in this form"
STUDIES = "studies"
"""The folder of ours in OUTPUT, which may hold the published runs as well."""


@dataclass(frozen=True)
class Part:
    """A figure or table of the paper, and its studies; see tools/paper.yaml."""

    name: str
    what: str
    section: str
    published: str
    studies: Sequence[str]
    ours: str

    def commands(self) -> list[str]:
        """The commands with the published checkpoints, from docs/reproduce.md."""
        text = (DOCS / "reproduce.md").read_text(encoding="utf-8")
        _, found, rest = text.partition(f"\n## {self.section}\n")
        if not found:
            raise SystemExit(f"docs/reproduce.md has no section {self.section!r}, which {self.name} names")
        return re.findall(r"^    (rps predict .*)$", rest.partition("\n## ")[0], re.MULTILINE)


@dataclass(frozen=True)
class Counterpart:
    """A study of ours in the folder of all."""

    name: str
    output: Path

    @property
    def folder(self) -> Path:
        return self.output / STUDIES / self.name

    @property
    def file(self) -> Path:
        return TOOLS / "studies" / f"{self.name}.yaml"

    @property
    def times(self) -> Path:
        return self.folder.with_suffix(".seconds")

    def content(self) -> dict[str, Any] | None:
        """study.json; None unless the study is finished."""
        path = self.folder / "study.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def seconds(self) -> float:
        """The time of all starts together."""
        return sum(map(float, self.times.read_text(encoding="utf-8").split())) if self.times.is_file() else 0.0

    def run(self, more: Sequence[str]) -> int:
        """Runs or resumes the study, if it is not finished.  -> exit code of `rps study`."""
        from rps.cli import main as rps

        if self.content() or not self.file.is_file():
            return 0
        begun = time.monotonic()
        try:
            return rps(["study", str(self.file), "--output", str(self.folder), *more])
        finally:
            earlier = self.times.read_text(encoding="utf-8") if self.times.is_file() else ""
            write_text(self.times, f"{earlier}{time.monotonic() - begun:.1f}\n")

    def figures(self) -> Iterator[Path]:
        study = read_study(self.file)
        for task in study.tasks:
            yield from (path for name in study.plots(task).values() if (path := self.folder / name).is_file())

    def state(self) -> str:
        """Images, cost and time; or that nobody has run it."""
        if (content := self.content()) is None:
            return NOBODY if self.file.is_file() else f"{NOBODY}: there is no {self.name}.yaml"
        n = max(level["n"] for run in content["runs"] for level in run["levels"])
        cost = content["total_forward_equivalents"] - content["saved_forward_equivalents"]
        return f"{n} images, {cost:,.0f} network forwards, {self.seconds() / 60:.1f} minutes"

    def ends(self) -> list[str]:
        """RMSE and sqrt FD of the first run of each task, at its first and last level."""
        lines = {}
        for run in (self.content() or {"runs": []})["runs"]:
            levels = dict.fromkeys((0, len(run["levels"]) - 1))
            texts = [f"{level_name(level['level'])}: {point(level)}" for level in (run["levels"][i] for i in levels)]
            lines.setdefault(run["task"], f"{run['task']} {run['run']}, {run['knob']} {', '.join(texts)}".strip())
        return list(lines.values())


def point(level: Mapping[str, Any]) -> str:
    place = plane_point(level["metrics"])
    return f"{place['x']:.4f} / {place['y']:.3f}" if place else "no figures"


def read() -> list[Part]:
    content = yaml.safe_load((TOOLS / "paper.yaml").read_text(encoding="utf-8"))
    return [Part(name, **of) for name, of in content.items()]


def described(part: Part, output: Path) -> str:
    """What --list shows of a part."""
    lines = [f"{part.name}: {part.what}", f"    published: {part.published}", f"    ours: {part.ours}"]
    lines += [f"    {name}: {Counterpart(name, output).state()}" for name in part.studies]
    lines += [f"    python tools/paper.py --output {output} --part {part.name}", "    with the published checkpoints:"]
    return "\n".join([*lines, *(f"        {command}" for command in part.commands() or ["none"])])


def page(parts: Sequence[Part], output: Path) -> str:
    """The content of paper.md."""
    found = ["# The paper's figures and tables on the embedded priors"]
    found.append("RMSE of images in [0, 1], sqrt FD the root of the Frechet distance of the embedded features.")
    for part in parts:
        found += [f"## {part.what}", f"Published: {part.published}.", f"Ours: {part.ours}."]
        for study in (Counterpart(name, output) for name in part.studies):
            found.append(f"### {study.name}: {study.state()}")
            if study.content() is not None:
                pictures = part.name == "pictures"
                shown = [path for path in study.figures() if path.stem.endswith("pictures") is pictures]
                found += [f"![{path.stem}]({STUDIES}/{study.name}/{path.name})" for path in shown]
                table = (study.folder / "table.md").read_text(encoding="utf-8")
                found += [] if pictures else [table.partition("\n\n")[2].strip()]
    return "\n\n".join(found) + "\n"


def write(parts: Sequence[Part], output: Path) -> None:
    """Writes the finished studies to their pages of docs/, and the table of all to docs/reproduce.md."""
    lines = []
    for part in parts:
        studies = [Counterpart(name, output) for name in part.studies]
        for study in studies:
            if study.content() is not None and part.name != "pictures":
                write_study(study.file.relative_to(TOOLS.parent), study.folder)
        ours = "<br>".join([f"{s.name}: {s.state()}" + "".join(f"; {end}" for end in s.ends()) for s in studies])
        place = re.sub(r"[^\w -]", "", part.section.lower()).replace(" ", "-")
        lines.append([part.what, part.published, f"[commands](#{place})", f"`--part {part.name}`", ours])
    head = ["in the paper", "published", "with the published checkpoints", "here", "ours, RMSE / sqrt FD"]
    write_part("reproduce", "paper", f"\n{markdown(head, lines)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = read()
    parser.add_argument("--output", type=Path, default=Path("runs/paper"))
    parser.add_argument("--part", nargs="+", choices=[part.name for part in parts], metavar="NAME", help="see --list")
    parser.add_argument("--list", action="store_true", help="show all parts, and run nothing")
    parser.add_argument("--write", action="store_true", help="write docs/, and run nothing")
    given, more = parser.parse_known_args()
    try:
        check_passed(more, "tools/paper.py", [*OWN, *PASSED], ["--part", "--list", "--write"])
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    chosen = [part for part in parts if given.part is None or part.name in given.part]
    if given.list:
        return print("\n\n".join(described(part, given.output) for part in chosen))
    if given.write:
        return write(parts, given.output)
    failed = {}
    for name in dict.fromkeys(name for part in chosen for name in part.studies):
        print(f"study {name}", flush=True)
        if (status := Counterpart(name, given.output).run(more)) not in (0, 3):
            failed[name] = status
    write_text(given.output / "paper.md", page(parts, given.output))
    print(f"Written:\n  {given.output / 'paper.md'}")
    if failed:
        codes = ", ".join(f"{name} with exit code {status}" for name, status in failed.items())
        raise SystemExit(f"not finished: {codes}; the same command resumes")


if __name__ == "__main__":
    main()
