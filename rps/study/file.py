"""Reads a study file, and states in one sentence what is wrong with it."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from rps.bounded_yaml import read_yaml
from rps.study.settings import Runs, Study, file_of

OPTIONS = re.compile(r"(model|data|trainer)(\.\w+)*\+?|seed|metric")
"""Options of rps predict that a study may set."""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


def _is_figures(value: Any) -> bool:
    texts = isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)
    return texts and not any(PurePath(file).is_absolute() or ".." in PurePath(file).parts for file in value)


CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "title": ("a text", lambda value: isinstance(value, str)),
    "common": ("a mapping with configs and set", lambda value: isinstance(value, Mapping)),
    "runs": (
        "a mapping of names to settings, e.g. MAP-RPS: {}",
        lambda value: isinstance(value, Mapping) and bool(value),
    ),
    "grid": (
        "a mapping of options to lists of values, e.g. model.steps: [10, 20]",
        lambda value: isinstance(value, Mapping) and all(isinstance(v, list) and v for v in value.values()),
    ),
    "tasks": ("a list of names", _is_texts),
    "columns": ("a list of names", _is_texts),
    "baselines": ("true or false", lambda value: isinstance(value, bool)),
    "figures": ("a mapping of files of a run to suffixes", _is_figures),
    "page": ("a text", lambda value: isinstance(value, str)),
}
"""Key -> (what it must be, whether a value is)."""


def read_study(path: Path) -> Study:
    """Reads a study file.  Errors: ValueError, which names the file, the key and what is expected; OSError."""
    content = read_yaml(path, f"study {path}")
    try:
        return _study(content)
    except ValueError as error:
        raise ValueError(f"study {path}: {error}") from error


def _study(content: Any) -> Study:
    _check_keys(content, "the file", list(CHECKS))
    for name in ("title", "runs"):
        if name not in content:
            raise ValueError(f"the file has no {name}; add {CHECKS[name][0]}")
    for name, value in content.items():
        expected, fits = CHECKS[name]
        if not fits(value):
            raise ValueError(f"{name} must be {expected}, got {value!r}")
    others = {name: value for name, value in content.items() if name not in ("common", "runs", "grid")}
    common, grid = _runs(content.get("common"), "common"), content.get("grid", {})
    runs, varied = {}, set(grid)
    for name, settings in content["runs"].items():
        own = _runs(settings, f"the run {name}")
        varied |= set(own.set)
        for values in itertools.product(*grid.values()):
            at = _runs({"set": dict(zip(grid, values, strict=True))}, "the grid")
            label = [f"{option.rpartition('.')[2]} {value}" for option, value in at.set.items()]
            if len(content["runs"]) > 1 or not grid:
                label.insert(0, str(name))
            runs[", ".join(label)] = common | own | at
    study = Study(runs=runs, varied=frozenset(varied), **others)
    _check_tasks(study)
    _check_folders(study)
    return study


def _runs(content: Any, where: str) -> Runs:
    content = {} if content is None else content
    _check_keys(content, where, ["configs", "set"])
    configs, options = content.get("configs") or [], content.get("set") or {}
    if configs and not _is_texts(configs):
        raise ValueError(f"configs of {where} must be a list of names or files, got {configs!r}")
    if not isinstance(options, Mapping):
        raise ValueError(f"set of {where} must map options to values, e.g. model.steps: 10, got {options!r}")
    for option, value in options.items():
        if not isinstance(option, str) or not OPTIONS.fullmatch(option):
            raise ValueError(
                f"{where} sets {option!r}, which is not an option of runs; give one such as model.steps or data.limit"
            )
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{option} of {where} must be made of numbers, texts, lists and mappings, got {value!r}"
            ) from error
    return Runs(list(configs), dict(options))


def _check_keys(content: Any, where: str, known: Sequence[str]) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must be a mapping with keys {', '.join(known)}, got {content!r}")
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
            raise ValueError(f"{key!r} is not a key of {where}; {hint}")


def _check_tasks(study: Study) -> None:
    """Errors: ValueError for a run that would be the same in several tasks; of a single one, the task is a name."""
    for name, run in study.runs.items():
        if len(study.tasks) > 1 and run.arguments(study.tasks[0]) == run.arguments(study.tasks[1]):
            raise ValueError(
                f"the run {name} is the same for the tasks {', '.join(study.tasks)}; write TASK where they differ, as "
                "in configs: [embedded/TASK], or leave out tasks"
            )


def _check_folders(study: Study) -> None:
    """Errors: ValueError for a run without a folder name, and for two in one folder."""
    taken: dict[Path, str] = {}
    for task, run in itertools.product(study.tasks, study.runs):
        name, folder = f"{task} {run}".strip(), study.folder(run, task)
        if not file_of(run) or (task and not file_of(task)):
            raise ValueError(f"the name {name!r} needs a letter or digit, for its folder; give another name")
        if taken.setdefault(folder, name) != name:
            raise ValueError(f"{name!r} and {taken[folder]!r} would have the same folder, {folder}; rename one")
