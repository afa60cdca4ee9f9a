"""Names and files of a run directory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rps.restoration import Level

LONGEST = 200
"""Largest number of bytes of a file name without its extension; file systems allow 255."""


PICTURES = (".png", ".webp")
"""Suffixes of the pictures of samples."""
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.part(\.\w+)?")
"""Names of the temporary files of `written`."""


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to; it replaces `path` once the block ends without error.

    Whenever the run is killed, a reader of `path` finds the whole file or none. Folders are created as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON; NaN and infinity become null."""
    write_text(path, json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def level_name(level: Level) -> str:
    """0 -> "0", 100.0 -> "100", 0.3 -> "0.3"."""
    return str(int(level)) if float(level).is_integer() else repr(float(level))


def spread_name(level: Level | str) -> str:
    """The folder of the standard deviations of a level, given it or its name."""
    return f"{level if isinstance(level, str) else level_name(level)}_std"


def file_name(id_: str) -> str:
    """A file name without extension for any sample id; different ids get different names, and none leaves its folder.

    Separators, control characters, leading dots, characters that some file system forbids, and the percent sign are
    percent-encoded. Long names are cut and end in a hash of the whole name.
    """
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|%' else _percent(c) for c in id_)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name:
        return "%"
    encoded = name.encode()
    if len(encoded) <= LONGEST:
        return name
    digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
    return encoded[: LONGEST - 34].decode(errors="ignore") + "%~" + digest


def picture_file(folder: Path, name: str) -> Path:
    """The picture of this name, without its suffix, in a folder of RUN/images; that of a PNG if there is none."""
    paths = [folder / f"{name}{suffix}" for suffix in PICTURES]
    return next((path for path in paths if path.is_file()), paths[0])


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
