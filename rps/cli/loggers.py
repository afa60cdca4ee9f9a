"""Loggers of the command line: a logger that is given no folder writes below the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rps.cli.classes import parameters, spelled
from rps.records.directory import LOGS

IN_RUN = ""
"""The save_dir, in a config, of a logger that writes to RUN/logs, wherever the run is."""


def complete(value: Any) -> Any:
    """The value of trainer.logger, in which each logger that takes a save_dir and has none gets IN_RUN."""
    if isinstance(value, list):
        return [complete(item) for item in value]
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
