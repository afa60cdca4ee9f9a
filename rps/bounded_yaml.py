"""Loads YAML after a check that its aliases do not expand a few lines to gigabytes."""

from __future__ import annotations

from typing import Any

from rps.printable import printable

MOST_CHARACTERS = 1_000_000
"""Largest number of characters of a text with its aliases (`*name`) expanded."""


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
    """Refuses a text whose aliases expand too much, because later readers copy every alias.

    Errors: yaml.YAMLError for such a text; RecursionError; ValueError.
    """
    import yaml

    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        """Number of characters of a node with everything it refers to."""
        if node not in sizes:
            parts = node.value if isinstance(node.value, list) else []
            inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[node] = 1 + (sum(map(size, inner)) if inner else len(node.value))
        return sizes[node]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > max(MOST_CHARACTERS, 2 * len(text)):
        raise yaml.YAMLError(f"its aliases expand it to more than {MOST_CHARACTERS:,} characters; remove the aliases")
