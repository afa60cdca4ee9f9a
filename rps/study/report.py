"""The folder of a study, and the files that are made of its finished runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from rps.records.directory import RunRefused
from rps.records.files import write_json, write_text
from rps.report.overlay import overlay_plot
from rps.report.pictures import save_picture
from rps.report.table import align
from rps.study.pictures import visual_table
from rps.study.results import Result, read_results
from rps.study.settings import PICTURES, Study
from rps.study.table import column_title, saved, study_columns, study_notes

MARKER, CONTENT = ".rps-study", "rps study directory, format 1\n"
REPORT = "study.json"
STAGE1 = ".stage1"
"""The folder with the estimates of stage 1 that several runs of the study use."""


def check_output(folder: Path) -> None:
    """Errors: RunRefused for a file, and for a folder with files that is not of a study."""
    if folder.exists() and not folder.is_dir():
        raise RunRefused(f"output {folder} is a file; give a new or empty folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise RunRefused(f"output {folder} is not empty and was not written by rps study; give another --output")


def check_study(study: Study, folder: Path) -> None:
    """Errors: RunRefused if the folder has the report of a study with runs that this one lacks.

    Settings are no part of it: each run refuses those of another run in its folder, and is extended where it can be.
    """
    path = folder / REPORT
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    for task, run in ((of["task"], of["run"]) for of in runs):
        if task not in study.tasks or run not in study.runs:
            raise RunRefused(
                f"output {folder} holds the report of another study, with a run {f'{task} {run}'.strip()!r} that this "
                f"one lacks; give another --output, or move {path} away to replace the report"
            )


def begin(folder: Path) -> None:
    """Marks the folder as that of a study."""
    if not (folder / MARKER).is_file():
        write_text(folder / MARKER, CONTENT)


def write_report(study: Study, tasks: Sequence[str], folder: Path, guides: bool = True) -> tuple[list[Path], list[str]]:
    """Writes table.md, study.json and the figures of the tasks, whose runs must be finished.

    guides: whether figures that are drawn have reference curves. -> the files, and sentences on what could not be made.
    """
    results = read_results(study, tasks, folder)
    columns = study_columns(study, results)
    text = "\n\n".join([f"# {study.title}", "\n".join(align(columns)), *study_notes(results)])
    write_text(folder / "table.md", text + "\n")
    write_json(folder / REPORT, _content(study, results))
    files, titles = [folder / "table.md", folder / REPORT], [title for title, _ in columns]
    empty = [name for name in study.columns or () if column_title(name) not in titles]
    troubles = [f"the column {name!r} of the study is left out: no run fills it" for name in empty]
    for task in tasks:
        of_task = [of for of in results if of.task == task]
        for name, figure in study.plots(task).items():
            try:
                _draw(study, name, of_task, folder / figure, guides)
                files.append(folder / figure)
            except ValueError as reason:
                troubles.append(f"there is no figure {figure}: {reason}")
    return files, troubles


def _draw(study: Study, file: str, results: Sequence[Result], path: Path, guides: bool) -> None:
    """Copies a file of the first run, or draws the curves or the pictures of all.  Errors: ValueError."""
    if not file:
        title = f"{results[0].task}, {study.title}".removeprefix(", ")
        overlay_plot({of.run: of.summary for of in results}, path, title, guides=guides)
        return
    if file == PICTURES:
        save_picture(visual_table(results), path)
        return
    found = sorted(results[0].folder.glob(file))
    if not found:
        raise ValueError(f"the run {results[0].run} has no file {file}")
    shutil.copyfile(found[0], path)


def _content(study: Study, results: Sequence[Result]) -> dict[str, object]:
    """What study.json holds: of each run its levels as in metrics.json, with the differences to the first run."""
    total, stored = saved(results)
    runs = [
        {
            "task": of.task,
            "run": of.run,
            "folder": study.folder(of.run, of.task).as_posix(),
            "knob": of.summary["knob"],
            "apart": of.apart,
            "levels": [
                {**level, "minus_first": of.minus_first.get(level["level"], {})} for level in of.summary["levels"]
            ],
        }
        for of in results
    ]
    return {"title": study.title, "total_forward_equivalents": total, "saved_forward_equivalents": stored, "runs": runs}
