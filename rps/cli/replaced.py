"""Makes a class that replaces another start with its own defaults.

By itself the parser passes on every value of the old class with the same name, e.g. the step size of DPS to DAPS.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from rps.cli import loggers
from rps.cli.classes import ROOM_OF, defaults, find, item_type, may_be_class, spelled, types
from rps.cli.flags import Place, read_flags, write_flag

SECTIONS = ("model", "data")
HOLD_CLASSES = ("prior", "operator", "estimator", "sampler")
"""Last keys of places in the model where a text is a class name, if the type of the option may be a class."""


def write_defaults(contents: Sequence[dict[str, Any]], flags: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Writes out the defaults of every class below a section that is the first at its place or replaces another one,
    and removes what earlier configs gave to the replaced class.

    A class is named by a mapping with class_path, by a flag --place.class_path, or by a text (`sampler: Daps`) where a
    class was named before or nothing else is possible; and only if the type of the option may be a class. No other text
    is looked up, so none is imported.

    The class of a section itself inherits: a task sets operator and noise for any later method. Loggers get a folder.

    contents: of YAML files, in order. flags: of the command line. -> copies.
    """
    state = _State()
    options = list(flags)
    named = [(place[0], value) for _, place, value in read_flags(options) if len(place) == 1]
    for section, value in [*(item for content in contents for item in content.items()), *named]:
        name = value.get("class_path") if isinstance(value, Mapping) else value
        if isinstance(name, str):  # needed by files that come before the one that names the class
            state.current.setdefault((section,), spelled(name, section) if section in SECTIONS else name)
    found = [state.complete(copy.deepcopy(content)) for content in contents]
    for i, place, value in list(read_flags(options)):
        if value is None and len(place) > 2 and state.may_be_class(place[:-1]):
            write_flag(options, i, None)
        elif value != (new := state.complete(value, place)):
            write_flag(options, i, new)
    return found, options


class _State:
    """What earlier configs and flags gave.  nodes: their mappings at a place. current: the class at a place."""

    def __init__(self) -> None:
        self.nodes: dict[Place, list[dict[str, Any]]] = {}
        self.current: dict[Place, str] = {}

    def complete(self, value: Any, place: Place = ()) -> Any:
        """The value of a config or flag at a place, with the defaults written out there and below."""
        if place[:1] == ("trainer",) and place[1:] in (("logger",), ("logger+",)):
            return loggers.complete(value)
        text = isinstance(value, str)
        if not text and not isinstance(value, Mapping):
            return value
        node: dict[str, Any] = {"class_path": value} if text else dict(value)
        name = node.get("class_path")
        if isinstance(name, str) and self._names_class(place):
            name = node["class_path"] = spelled(name, place[-1])
        if isinstance(name, str) and len(place) == 1:
            self.current[place] = name
        if text:
            known = place in self.current or (
                place[0] == "model" and place[-1] in HOLD_CLASSES and self.may_be_class(place)
            )
            return node if len(place) > 1 and known and self._read(place, node) and "init_args" in node else name
        if len(place) > 1 and ("class_path" in node or "init_args" in node) and self.may_be_class(place):
            self._read(place, node)
        for key, inner in node.items():
            if key != "class_path":
                node[key] = self.complete(inner, place if key == "init_args" else (*place, str(key)))
        return node

    def _names_class(self, place: Place) -> bool:
        """Whether a text at this place can only be the name of a class that has a room."""
        if not place or place[0] not in SECTIONS or place[-1] not in ROOM_OF:
            return False
        return len(place) == 1 or self.may_be_class(place)

    def may_be_class(self, place: Place) -> bool:
        """Whether the option at this place may be a class; True if its type is not known."""
        kind = self._type(place)
        return place[0] != "data" if kind is None else may_be_class(kind)

    def _type(self, place: Place) -> Any:
        """The annotation of an option, or of a value in a mapping; None if it is not known."""
        if len(place) < 2:
            return None
        if (owner := self.current.get(place[:-1])) is not None:
            return types(owner).get(place[-1], Any)
        above = self._type(place[:-1])
        return None if above is None or may_be_class(above) else item_type(above)

    def _read(self, place: Place, node: dict[str, Any]) -> bool:
        """Records a node and adds defaults to it.  -> whether it names another class."""
        name, earlier = node.get("class_path"), self.nodes.setdefault(place, [])
        former = self.current.get(place)
        other = isinstance(name, str) and (former is None or not _same(name, former))
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


def _same(name: str, other: str) -> bool:
    """Whether two names mean the same class: "Daps" and "rps.samplers.Daps" do, "mine.Daps" is another."""
    return name == other or ((found := find(name)) is not None and found is find(other))
