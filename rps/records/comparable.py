"""Checks by their configs or records that two runs can be compared: that they have the same task and the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rps.records.changes import differences
from rps.records.choices import arguments
from rps.records.directory import RunDirectory, RunRefused
from rps.records.reader import read_origin

TASK = ("operator", "noise", "noise_std")
"""Arguments of the model that define what is measured."""
SELECTION = ("limit", "skip", "subset", "subset_seed")
"""Arguments of the data that select samples, for which pairing by ids makes up: those that our datamodules name in
`RunData.selection`. To compare runs, the classes in their configs are not imported."""


def check_comparable(run: Path, other: Path, same_pictures: Callable[[], bool]) -> None:
    """Errors: RunRefused, which lists what differs.  Of runs without a config, only the tasks in their records are
    compared, where both have them.

    same_pictures: called if the data arguments differ, since a folder may have moved.
    """
    configs = [RunDirectory(folder).config() for folder in (run, other)]
    if not all(configs):
        made = [read_origin(folder).module for folder in (run, other)]
        names = [name for name in made[0] if name in made[1] and name.split(".")[0] in TASK]
        _refuse("have different tasks", run, other, *({name: of[name] for name in names} for of in made))
        return
    tasks = [{k: v for k, v in arguments(config.get("model")).items() if k in TASK} for config in configs]
    _refuse("have different tasks", run, other, *({"model": task} for task in tasks))
    data = [_data(config.get("data")) for config in configs]
    if differences(*data) and not same_pictures():
        _refuse("have different data", run, other, *data)


def _refuse(what: str, run: Path, other: Path, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    found = [f"{key} is {here} in one and {there} in the other" for key, here, there in differences(a, b)]
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise RunRefused(f"{run} and {other} {what} and cannot be compared: {'; '.join(found[:3])}{more}")


def _data(section: Any) -> dict[str, Any]:
    class_path = section.get("class_path") if isinstance(section, Mapping) else section
    kept = {name: value for name, value in arguments(section).items() if name not in SELECTION}
    return {"data": {"class_path": class_path, "init_args": kept}}
