"""YAML of which a few lines cannot make gigabytes."""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 1_000_000
"""Of a text with its aliases (`*name`) written out."""


def load_yaml(text: str) -> Any:
    """The content of a YAML text that `check_yaml` accepts.  Errors: yaml.YAMLError; RecursionError; ValueError."""
    import yaml

    check_yaml(text)
    return yaml.safe_load(text)


def check_yaml(text: str) -> None:
    """Aliases may not multiply a text: what reads it later copies every one of them.

    Errors: yaml.YAMLError where they do; RecursionError; ValueError.
    """
    import yaml

    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        """Characters of a node with all that it refers to."""
        if node not in sizes:
            parts = node.value if isinstance(node.value, list) else []
            inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[node] = 1 + (sum(map(size, inner)) if inner else len(node.value))
        return sizes[node]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > max(MOST_CHARACTERS, 2 * len(text)):
        raise yaml.YAMLError(f"its aliases make more than {MOST_CHARACTERS:,} characters of it; write them out")
