"""A class that takes the place of another begins with its own defaults.

The parser would let it inherit every value of the former class that bears the same name: DAPS the step size of DPS.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rps.cli.errors import defaults

Place = tuple[str, ...]
"""Keys from the top of a config, "init_args" left out: ("model", "sampler")."""


def settled(contents: Sequence[dict[str, Any]], flags: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The configs and flags, where every class below a section that differs from the one named before it, or is the
    first to be named, spells out its defaults; what earlier configs gave to its predecessor is taken out.

    The class of a section itself inherits: a task says operator and noise to whatever method comes later.

    contents: of YAML files, in order. flags: of the command line. -> copies.
    """
    found = [copy.deepcopy(content) for content in contents]
    options = list(flags)
    state = _State()
    for content in found:
        for place, node in list(_nodes(content)):
            state.read(place, node)
    for i, place, value, write in list(_flags(options)):
        node = dict(value) if isinstance(value, Mapping) else {"class_path": value}
        if isinstance(node.get("class_path"), str) and state.read(place, node) and node.get("init_args"):
            options[i] = write(json.dumps(node))
    return found, options


class _State:
    """nodes: the mappings of earlier configs at a place. current: the class that is named there."""

    def __init__(self) -> None:
        self.nodes: dict[Place, list[dict[str, Any]]] = {}
        self.current: dict[Place, str] = {}

    def read(self, place: Place, node: dict[str, Any]) -> bool:
        """Takes in what a config or flag says of a place, and completes it.  -> is another class named?"""
        name, earlier = node.get("class_path"), self.nodes.setdefault(place, [])
        former = self.current.get(place)
        other = isinstance(name, str) and (former is None or _last(name) != _last(former))
        if other:
            given = {key for before in earlier for key in before.get("init_args", {})} if former is None else set()
            if former is not None:
                for before in earlier:
                    for key in set(before) - {"class_path"}:
                        del before[key]
            own = {key: value for key, value in defaults(str(name)).items() if key not in given}
            if own or node.get("init_args"):
                node["init_args"] = own | (node.get("init_args") or {})
            self.current[place] = str(name)
        earlier.append(node)
        return other


def _nodes(value: Any, place: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every mapping below a section that names a class or gives arguments to one, with its place."""
    if not isinstance(value, dict):
        return
    if len(place) > 1 and ("class_path" in value or "init_args" in value):
        yield place, value
    for key, inner in value.items():
        yield from _nodes(inner, place if key == "init_args" else (*place, str(key)))


def _flags(options: Sequence[str]) -> Iterator[tuple[int, Place, Any, Any]]:
    """(index of the part with the value, place, value, text of that part from a new value) of every --a.b value."""
    import yaml

    for i, option in enumerate(options):
        name, equals, text = option.partition("=")
        if not name.startswith("--") or (not equals and (i + 1 == len(options) or options[i + 1].startswith("--"))):
            continue
        place = tuple(key for key in name[2:].split(".") if key not in ("init_args", "class_path"))
        try:
            value = yaml.safe_load(text if equals else options[i + 1])
        except yaml.YAMLError:
            continue
        if len(place) > 1 and not name.endswith(".class_path"):
            yield (i, place, value, (name + "=").__add__) if equals else (i + 1, place, value, str)


def _last(name: str) -> str:
    return name.rpartition(".")[2]
