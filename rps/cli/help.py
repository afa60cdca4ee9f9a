"""The arguments of a class: --model.help CLASS, --model.sampler.help CLASS, --data.help CLASS, ..."""

from __future__ import annotations

from rps.cli.classes import ROOM_OF, find, names_in, our_classes
from rps.cli.errors import InputError, did_you_mean

PARTS = ("operator", "prior", "estimator", "sampler", "traversal")
"""Parts of a model; the base class of each is in its room, under its name."""


def is_help(option: str) -> bool:
    """Whether an option asks for the arguments of a class that may be one of ours."""
    *place, last = option.split(".")
    return option.startswith("--") and last == "help" and bool(place) and place[-1].removeprefix("--") in ROOM_OF


def show_help(option: str, name: str | None) -> None:
    """Prints the arguments of a class.

    option: e.g. "--model.help". name: a dotted path, or one of our classes in any case; if a module and a traversal
    have the same name, that which the option can take. Errors: InputError.
    """
    from jsonargparse import ArgumentParser

    asked = option.split(".")[-2].removeprefix("--")
    listed = ", ".join(_classes(ROOM_OF[asked]))
    if name is None:
        raise InputError(f"{option} needs a class after it: {listed}, or a dotted path")
    rooms = dict.fromkeys((ROOM_OF[asked], *ROOM_OF.values()))
    known = {own.lower(): f"{room}.{own}" for room in reversed(rooms) for own in _classes(room)}
    path = name if "." in name else known.get(name.lower(), "")
    kind = find(path) if path else None
    if not isinstance(kind, type):
        module, _, short = name.rpartition(".")
        hint = did_you_mean(short, names_in(module) if module else our_classes(*rooms)) or f"there are {listed}"
        raise InputError(f"{option}: there is no class {name!r}; {hint}")
    place = _place(kind, asked)
    parser = ArgumentParser(prog="rps predict", exit_on_error=False)
    parser.add_subclass_arguments(kind, place)
    parser.parse_args([f"--{place}.help={path}"])  # prints the help and exits


def _classes(room: str) -> list[str]:
    return [name for name in our_classes(room) if isinstance(find(f"{room}.{name}"), type)]


def _place(kind: type, asked: str) -> str:
    """Where the arguments of a class stand on the command line: "model.sampler" for a sampler.

    asked: the key of the option that asked, for classes that are none of ours.
    """
    part = next((key for key in PARTS if issubclass(kind, find(f"{ROOM_OF[key]}.{key.capitalize()}"))), None)
    if part is not None:
        return f"model.{part}"
    key = next((key for key, room in ROOM_OF.items() if kind.__name__ in names_in(room)), asked)
    places = {"callbacks": f"trainer.callbacks.{kind.__name__}", "logger": "trainer.logger", "metrics": "init_args"}
    return places.get(key, key)
