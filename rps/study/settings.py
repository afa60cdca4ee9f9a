"""Study: several runs of `rps predict` that are reported together."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PICTURES = "images"
"""In place of a file of a run: the pictures of all runs side by side."""


@dataclass
class Runs:
    """The settings of runs.  configs: names or files, in order. set: dotted option -> value."""

    configs: list[str] = field(default_factory=list)
    set: dict[str, Any] = field(default_factory=dict)

    def __or__(self, other: Runs) -> Runs:
        return Runs([*self.configs, *other.configs], {**self.set, **other.set})

    def arguments(self, task: str = "") -> list[str]:
        """The arguments of `rps predict`, without --output.  task: replaces TASK in the names of configs and in values;
        "" leaves it."""
        options = [("--config", name) for name in self.configs]
        options += [(f"--{k}", v if isinstance(v, str) else json.dumps(v)) for k, v in self.set.items()]
        return [part for option, value in options for part in (option, value.replace("TASK", task or "TASK"))]


@dataclass
class Study:
    """The content of a study file.

    title: of the table and the figures. runs: name -> settings, including the common ones and the values of the grid.
    varied: the options that the runs set differently. tasks: names that replace TASK in the names of configs and in
    values, each with all runs; [""] without them. columns: of the table; None is the default ones. baselines: whether
    the table has lines for A^+ y and for the clean images. figures: file of the first run -> suffix of a figure that it
    is copied to; "" is the curves of all runs and PICTURES their pictures; None is {"": ""}. page: the page of docs/
    that shows the study; only tools/pages.py reads it.
    """

    title: str
    runs: dict[str, Runs]
    varied: frozenset[str] = frozenset()
    tasks: list[str] = field(default_factory=lambda: [""])
    columns: list[str] | None = None
    baselines: bool = False
    figures: dict[str, str] | None = None
    page: str | None = None

    def folder(self, run: str, task: str) -> Path:
        """The folder of a run in that of the study."""
        return Path(*filter(None, map(file_of, (task, run))))

    def plots(self, task: str) -> dict[str, str]:
        """File of the first run, "" for the curves of all or PICTURES -> name of a figure."""
        wanted = {"": "" if task else "curves"} if self.figures is None else self.figures
        return {file: "_".join(filter(None, map(file_of, (task, suffix)))) + ".png" for file, suffix in wanted.items()}


def file_of(name: str) -> str:
    """The name as that of a file or folder: letters, digits and underscores."""
    return re.sub(r"\W+", "_", name).strip("_")
