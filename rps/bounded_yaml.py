"""Loads YAML after a check that no key is given twice and that aliases do not expand a few lines to gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rps.printable import printable

MOST_CHARACTERS = 1_000_000
"""Largest number of characters of a text with its aliases (`*name`) expanded."""


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file, as of `load_yaml`.  Errors: ValueError; OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{what} is not text in UTF-8 (byte {error.object[error.start]:#x} at position {error.start}); give a YAML "
            "file that is saved as UTF-8"
        ) from error
    return load_yaml(text, what)


def load_yaml(text: str, what: str = "the text") -> Any:
    """The content of a YAML text, after `check_yaml`.  Errors: ValueError, which says what is wrong with `what`."""
    import yaml

    try:
        check_yaml(text)
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deeply or contains itself; use fewer levels") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ValueError(f"{what} is not valid YAML{where}: {printable(reason)}") from error


def check_yaml(text: str) -> None:
    """Refuses a text with a key that is given twice, because readers drop the first value; and one whose aliases expand
    too much, because later readers copy every alias.

    Errors: ValueError for such a text; yaml.YAMLError if it is not YAML; RecursionError.
    """
    import yaml

    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        """Number of characters of a node with everything it refers to."""
        if node not in sizes:
            if isinstance(node, yaml.MappingNode):
                _check_keys([key for key, _ in node.value])
            parts = node.value if isinstance(node.value, list) else []
            inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[node] = 1 + (sum(map(size, inner)) if inner else len(node.value))
        return sizes[node]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > max(MOST_CHARACTERS, 2 * len(text)):
        raise ValueError(f"its aliases expand it to more than {MOST_CHARACTERS:,} characters; remove the aliases")


def _check_keys(keys: Sequence[Any]) -> None:
    """keys: the nodes of a mapping.  Errors: ValueError for one that is given twice; `<<` may be."""
    lines: dict[tuple[str, str], int] = {}
    for key in keys:
        name, line = (key.tag, str(key.value)), key.start_mark.line + 1
        if name in lines and key.tag != "tag:yaml.org,2002:merge":
            first = lines[name]
            where = f"twice in line {line}" if first == line else f"in line {first} and again in line {line}"
            raise ValueError(f"the key {key.value!r} is given {where}; keep one of them")
        lines[name] = line
