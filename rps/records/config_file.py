"""config.yaml of a run: its values, and in comments the versions and the commands that made the run."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rps import __version__
from rps.printable import printable

PACKAGES = ("torch", "torchvision", "lightning", "diffusers", "datasets", "timm", "torchmetrics")


def new_config(config: str, command: Sequence[str]) -> str:
    """The text of the file.  config: the values, as YAML. command: the words after `rps`."""
    used = {"rps": __version__, **versions(PACKAGES)}
    header = [
        "rps predict --config THIS_FILE --output DIR repeats this run.",
        "versions: " + ", ".join(f"{name} {number}" for name, number in used.items()),
        f"date: {_now()}",
        f"command: {shlex.join(['rps', *command])}",
    ]
    return "".join(map(_comment, header)) + config.rstrip() + "\n"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def with_event(text: str, event: str, command: Sequence[str], values: Mapping[str, Any] | None = None) -> str:
    """The text with a command added to its comments, and with other values unless these are None."""
    import yaml

    lines = text.split("\n")
    comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if values is None:
        body = lines[comments:]
    else:
        body = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).split("\n")
    note = _comment(f"{event}: {_now()}: {shlex.join(['rps', *command])}").rstrip("\n")
    return "\n".join([*lines[:comments], note, *body])


def _comment(text: str) -> str:
    """The text as YAML comments, in characters that YAML allows."""
    return "".join(f"# {printable(line)}\n" for line in text.split("\n"))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
