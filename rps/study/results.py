"""The runs of a study, each with its differences to the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rps.records.comparable import check_comparable
from rps.records.directory import RunDirectory
from rps.records.reader import read_records
from rps.report.paired import Paired, compare_runs, same_images
from rps.restoration import Level
from rps.study.settings import Study


@dataclass(frozen=True)
class Result:
    """A finished run.  summary: its metrics.json. minus_first: level -> metric -> this run minus the first one of the
    task. apart: why there are no differences, if there are none.
    """

    task: str
    run: str
    folder: Path
    summary: Mapping[str, Any]
    minus_first: Mapping[Level, Mapping[str, Paired]] = field(default_factory=dict)
    apart: str = ""


def read_results(study: Study, tasks: Sequence[str], output: Path) -> list[Result]:
    """The runs of the study in a folder, which must be finished, in the order of tasks and runs."""
    results = []
    for task in tasks:
        first: Path | None = None
        for run in study.runs:
            folder = output / study.folder(run, task)
            differences, apart = ({}, "") if first is None else _minus(folder, first)
            results.append(Result(task, run, folder, RunDirectory(folder).metrics(), differences, apart))
            first = first or folder
    return results


def _minus(run: Path, first: Path) -> tuple[dict[Level, Mapping[str, Paired]], str]:
    """The differences at the levels that both have, or of the only levels of both; else the reason for none."""
    a, b = read_records(run), read_records(first)
    pairs = [(level, level) for level in a.levels if level in b.levels] if a.knob == b.knob else []
    if not pairs and len(a.levels) == len(b.levels) == 1:
        pairs = [(a.levels[0], b.levels[0])]
    if not pairs:
        return {}, "no level in common"
    try:
        check_comparable(run, first, lambda: bool(same_images(a, b)))
        found = compare_runs(run, first, pairs=pairs)
    except ValueError as reason:
        return {}, str(reason)
    return {level["level"]: level["metrics"] for level in found["levels"]}, ""
