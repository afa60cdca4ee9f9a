"""Sample ids made from file names: unique, and safe to use as file names."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePath

LONGEST = 180
"""Largest length of an id in bytes; file systems allow 255, and outputs append to the id."""


def ids_of(paths: Sequence[PurePath]) -> list[str]:
    """One id per file: its path without the extension, "sub/a.png" -> "sub__a".

    If files differ only in the extension, their ids keep it: "a.png", "a.jpg". Characters that some file system
    forbids, and underscores that could be taken for a separator, are percent-encoded.

    paths: relative to a common folder, all different -> as many different ids.
    """
    short = [_encode(path.with_suffix("")) for path in paths]
    full = [_encode(path) for path in paths]
    ids = short
    while len(set(ids)) < len(ids):
        seen = Counter(ids)
        ids = [long if seen[id_] > 1 else id_ for id_, long in zip(ids, full, strict=True)]
    return ids


def refuse_renamed(paths: Sequence[PurePath], recorded: AbstractSet[str], where: str) -> None:
    """Errors: ValueError if a file's id has lost or gained its extension since it was recorded.

    paths: as for ids_of. recorded: ids of an earlier run over the same folder. where: the folder.
    """
    ids = ids_of(paths)
    for path, id_ in zip(paths, ids, strict=True):
        others = ({_encode(path.with_suffix("")), _encode(path)} & recorded).difference(ids)
        for other in others:
            raise ValueError(
                f"the run has a record of {other!r}, but {path} of {where} now has the id {id_!r}, because pictures "
                "that differ only in their extension were added or removed; undo that, or give another --output"
            )


def refuse_missing(ids: Iterable[str], recorded: AbstractSet[str], where: str) -> None:
    """Errors: ValueError if a recorded id is no longer in the data.

    Ids that were generated for rows without an id, or for repeated ids, are ignored.
    """
    given = {id_ for id_ in recorded if not re.fullmatch(r"row:.*|.* \(repeat \d+\)", id_, re.DOTALL)}
    if gone := sorted(given.difference(ids)):
        more = f", and {len(gone) - 3} more" if len(gone) > 3 else ""
        raise ValueError(
            f"the run has records of {', '.join(map(repr, gone[:3]))}{more}, which {where} no longer has; restore what "
            "was removed or renamed, or give another --output"
        )


def _encode(path: PurePath) -> str:
    parts = list(path.parts)
    for i, part in enumerate(parts):
        part = "".join(c if c.isprintable() and c not in '/\\:*?"<>|%' else _percent(c) for c in part)
        part = part.replace("..", ".%2E")
        part = re.sub("(?<=_)_", "%5F", part)
        if i > 0 and part.startswith("_"):
            part = "%5F" + part[1:]
        if i < len(parts) - 1 and part.endswith("_"):
            part = part[:-1] + "%5F"
        parts[i] = part
    name = "__".join(parts)
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return name.encode()[: LONGEST - 17].decode(errors="ignore") + "~" + digest


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
