"""Loggers of the command line: a logger that is given no folder writes below the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.cli.classes import parameters, spelled
from rps.cli.flags import read_flags, write_flag
from rps.records.directory import LOGS

IN_RUN = ""
"""The save_dir, in a config, of a logger that writes to RUN/logs, wherever the run is."""


def complete_all(contents: Sequence[dict[str, Any]], options: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Copies of the configs and of the flags in which each logger that takes a save_dir and has none gets IN_RUN."""
    found, flags = [dict(content) for content in contents], list(options)
    for content in found:
        if isinstance(trainer := content.get("trainer"), Mapping) and "logger" in trainer:
            content["trainer"] = {**trainer, "logger": _complete(trainer["logger"])}
    for i, place, value in list(read_flags(flags)):
        if place in (("trainer", "logger"), ("trainer", "logger+")) and value != (new := _complete(value)):
            write_flag(flags, i, new)
    return found, flags


def _complete(value: Any) -> Any:
    if isinstance(value, list):
        return [_complete(item) for item in value]
    node: Any = {"class_path": value} if isinstance(value, str) else value
    if not isinstance(node, Mapping) or not isinstance(node.get("class_path"), str):
        return value
    node = {**node, "class_path": spelled(node["class_path"], "logger")}
    if "save_dir" in parameters(node["class_path"]):
        node["init_args"] = {"save_dir": IN_RUN, **(node.get("init_args") or {})}
    return node


def place(loggers: Any, run: str | Path) -> None:
    """Replaces IN_RUN by the folder.  loggers: trainer.logger as parsed."""
    for logger in loggers if isinstance(loggers, list | tuple) else [loggers]:
        arguments = getattr(logger, "init_args", None) or {}
        if arguments.get("save_dir") == IN_RUN:
            arguments["save_dir"] = str(Path(run).expanduser() / LOGS)
