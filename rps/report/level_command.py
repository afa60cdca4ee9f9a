"""The command that restores at one level of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rps.records.choices import arguments as arguments_of
from rps.records.directory import RunDirectory
from rps.records.files import level_name
from rps.restoration import Level


def level_command(run: Path, knob: str, level: Level) -> list[str]:
    """The arguments of `rps predict --config RUN/config.yaml` with this level alone and an output beside the run.

    Other settings with one value per level, e.g. step_size of VarianceScaling, get the value of this level. Empty if
    the run has no config, or its config does not show how the level is set.
    """
    given: Any = RunDirectory(run).config().get("model") or {}
    place, arguments = "--model", arguments_of(given)
    if "traversal" in arguments:
        place, arguments = f"{place}.traversal", arguments_of(arguments["traversal"])
    key = knob if isinstance(arguments.get(knob), list) else "levels"
    levels = arguments.get(key)
    if not isinstance(levels, list):
        return []
    options = {key: [level]}
    for name, values in arguments.items():
        if name != key and isinstance(values, list) and len(values) == len(levels):
            if level not in levels:
                return []
            options[name] = [values[levels.index(level)]]
    flags = [part for name, value in options.items() for part in (f"{place}.{name}", json.dumps(value))]
    output = run.with_name(f"{run.name}-{knob}-{level_name(level)}")
    return ["rps", "predict", "--config", str(run / "config.yaml"), *flags, "--output", str(output)]
