"""Decides which errors the user can fix, and reports each in one sentence."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from typing import Any, NoReturn

from rps.cli.classes import ROOM_OF, names_in, our_classes, parameters
from rps.cli.streams import say
from rps.printable import printable, printable_lines


class InputError(ValueError):
    """Invalid user input; the message states what was given, what was expected and what to do."""


class SentenceParser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors.  prog: the command. takes: what it takes, for messages."""

    def __init__(self, prog: str, takes: str) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False)
        self.takes = takes

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog} takes {self.takes}: {message} (see {self.prog} --help)")


def one_line(text: object) -> str:
    return printable(" ".join(str(text).split()))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "did you mean X?", or an empty text if no known name is similar, in any case."""
    names = {own.lower(): own for own in known}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {names[near[0]]}?" if near else ""


def is_bad_input(error: BaseException, started: bool) -> bool:
    """Whether the user can fix this error, rather than it being a bug; judged by the class of the error alone.

    The user can fix values, files, packages, memory and settings of the Trainer. Before the first batch starts
    everything is built from user input, so TypeError and RuntimeError count as well.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from torch import OutOfMemoryError

    fixable = (ValueError, OSError, ImportError, SyntaxError, MemoryError, OutOfMemoryError, MisconfigurationException)
    return isinstance(error, fixable if started else (*fixable, TypeError, RuntimeError))


def report(error: BaseException, started: bool, kept: str, config: Any = None) -> int:
    """Prints one sentence on an error that the user can fix, else its traceback.  -> the exit code.

    started: see `is_bad_input`. kept: what is left of the work, after a bug. config: the classes of the run.
    """
    error = root_of(error)
    bad_input = is_bad_input(error, started)
    if not bad_input or os.environ.get("RPS_DEBUG"):
        print(printable_lines("".join(traceback.format_exception(error))), file=sys.stderr)
    if bad_input:
        where = " (RPS_DEBUG=1 shows where)" if started and isinstance(error, ValueError) else ""
        say(f"error: {sentence(error)}{raised_in(error)}{where}")
        return int(getattr(error, "exit_code", 2))
    checks = "".join(f"; rps.check_{key}({own}(...)) lists the faults of that class" for key, own in foreign(config))
    say(f"this looks like a bug in rps or in a class given to it{checks}; {kept}")
    return 1


def is_foreign(module: str) -> bool:
    """Whether a module is not of this package."""
    return module.partition(".")[0] not in ("rps", "modules", "datamodules")


def raised_in(error: BaseException) -> str:
    """ " (raised in my_module.MyClass.forward)", or an empty text if no code but ours and that of libraries raised it.

    Frames are judged by their code alone: their variables may be cleared (modules/isolation.py).
    """
    libraries = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith((*libraries, "<"))]
    if not own or isinstance(error, OSError) or not is_foreign(module := own[-1].f_globals.get("__name__", "rps")):
        return ""
    return f" (raised in {module}.{getattr(own[-1].f_code, 'co_qualname', own[-1].f_code.co_name)})"


def foreign(config: Any, key: str = "") -> list[tuple[str, str]]:
    """(key, class) of the operators, priors and samplers in a config whose classes are not of this package."""
    if isinstance(config, list):
        return [found for value in config for found in foreign(value, key)]
    if not isinstance(config, dict):
        return []
    own = config.get("class_path")
    mine = [(key, own)] if key in ("operator", "prior", "sampler") and isinstance(own, str) and is_foreign(own) else []
    inner = {**config, "init_args": None, **(config.get("init_args") or {})}
    return mine + [found for name, value in inner.items() for found in foreign(value, name)]


def sentence(error: BaseException) -> str:
    """One line that states what is wrong."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
        return "the device has too little memory for these batches; lower --data.batch_size or --model.micro_batch"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{place}; files written before are intact: free some space and repeat the command"
    if isinstance(error, OSError) and error.errno and error.filename is not None:
        path = os.fsdecode(error.filename)
        name = printable(path if len(path) < 100 else f"{path[:60]}...{path[-30:]}")
        if os.path.islink(path) and not os.path.exists(path):
            return f"{name} is a link to {printable(os.readlink(path))}, which does not exist; give another path"
        return f"cannot use {name}: {(error.strerror or type(error).__name__).lower()}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name!r} is needed for this and is not installed; pip install it"
    return one_line(error) or type(error).__name__


def root_of(error: BaseException) -> BaseException:
    """The error of a constructor, without the errors that jsonargparse wraps around it."""
    wrappers = ("Does not validate", "- Expected", "Problem with")
    while error.__cause__ is not None and str(error).lstrip().startswith(wrappers):
        error = error.__cause__
    return error


def parser_sentence(error: BaseException, options: Iterable[str]) -> str:
    """One line that states what jsonargparse found wrong.

    Its messages are trees with one branch per possible type. Every node is raised from its first branch, so the chain
    of causes leads to the one that matters and passes the keys and the class on the way.

    options: the flags that the parser knows.
    """
    keys: list[str] = []
    class_path = expected = leaf = ""
    node: BaseException | None = error
    while node is not None:
        leaf, node = str(node).strip(), node.__cause__
        if match := re.match(r'Parser key "([^"]+)"', leaf):
            keys += [match[1]] if keys[-1:] != [match[1]] else []
            expected = ""
        elif match := re.match(r"Problem with given class_path '([^']+)'", leaf):
            class_path, expected = match[1], ""
        elif match := re.match(r"Does not validate against any of the Union subtypes\nSubtypes: \[(.*)\]", leaf):
            expected = match[1]
    lacking = re.search(r"class_path '([^']+)':\s+the following arguments are required: (.+)", str(error))
    if lacking and leaf.startswith("Expected a <class"):  # one of several types, of which the first is the leaf
        class_path, leaf = lacking[1], f"the following arguments are required: {lacking[2]}"
    given = re.findall(r"Given value: (.*)$", str(error))
    return _leaf_sentence(leaf, ".".join(keys), class_path, expected, given[-1] if given else "", options)


def _leaf_sentence(leaf: str, key: str, class_path: str, union: str, given: str, options: Iterable[str]) -> str:
    """The sentence for one kind of parser error.  key: e.g. "model.operator"; class_path: the class given for it."""
    if match := re.match(r"Option '(.+?)' is not accepted", leaf):
        known = parameters(class_path)
        if class_path.startswith("lightning.Lightning"):
            section = key.partition(".")[0]
            return f"no config names a class for {section}, so {key}.{match[1]} has none; put --config demo before it"
        head, nested, _ = match[1].partition(".")
        hint = did_you_mean(head, ("init_args",)) if nested else ""
        hint = hint or did_you_mean(match[1], known) or f"it takes {', '.join(known) or 'nothing'}"
        return f"{key}.{match[1]} is not an option of {class_path}; {hint}"
    if match := re.match(r"Group '(.+?)' does not accept option '(.+?)'", leaf):
        return f"{match[1]}.{match[2]} is not an option; {_near_option(f'--{match[1]}.{match[2]}', options)}"
    if match := re.match(r"unrecognized arguments: (\S+)", leaf):
        option = match[1].partition("=")[0]
        if not option.startswith("-"):
            return f"{option!r} is not an option; give values as --name value (see rps --help)"
        return f"{option} is not an option; {_near_option(option, options)}"
    if match := re.match(r"the following arguments are required: (.+)", leaf):
        if class_path:
            return f"{class_path} needs a value for {key}.{match[1]}"
        missing = match[1].replace(", ", " and no ")
        return f"there is no {missing}; give a --config that defines it, e.g. --config demo"
    if match := re.match(r"Expected a (.+?)(?:\. Got value: (.*))?$", leaf.splitlines()[0]):
        if match[1].startswith("dot import path"):
            name = match[1].rpartition(": ")[2]
            role = key.rpartition(".")[2]
            if name in our_classes() and role in ROOM_OF:
                own = next(kind for kind, room in ROOM_OF.items() if name in our_classes(room))
                others = ", ".join(other for other in our_classes(ROOM_OF[role]) if other.lower() != role)
                return f"{key}: {name} is of the kind {own}; the classes of the kind {role} are {others}"
            hint = did_you_mean(name, our_classes()) or "give a dotted path, e.g. my_module.MyClass"
            return f"{key}: there is no class {name!r}; {hint}"
        wanted, got = _types(union or match[1]), match[2] or given
        hint = f"; a list is written '[{got}]'" if "list" in wanted and "," in got and "[" not in got else ""
        return f"{key} must be {wanted}, got {got!r}{hint}"
    if match := re.match(r"Import path (?:(\S+) )?does not correspond to a subclass of (\w+)", leaf):
        return f"{key} must be a {match[2]}, but {match[1] or given} is not one"
    if class_path:
        module = class_path.rpartition(".")[0]
        hint = did_you_mean(class_path.rpartition(".")[2], names_in(module))
        return f"{key}: cannot use {class_path!r}: {one_line(leaf)}" + (f"; {hint}" if hint else "")
    return f"{key}: {one_line(leaf)}" if key else one_line(leaf)


def _near_option(option: str, options: Iterable[str]) -> str:
    if option.endswith(".help"):
        return "name the class that has it first, as in --model MapRps --model.relative_cost.help"
    name = option.lstrip("-")
    for section in ("model", "data"):
        if any(name in parameters(f"{ROOM_OF[section]}.{own}") for own in our_classes(ROOM_OF[section])):
            return f"did you mean --{section}.{name}?"
    return did_you_mean(option, options) or "see rps --help, or --print_config for every value"


def _types(text: str) -> str:
    """Readable names of types: "<class 'int'>, <class 'NoneType'>" -> "int or null"."""
    text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).replace("typing.", "").replace("NoneType", "null")
    text = re.sub(r"(collections\.abc\.)?\bSequence(\[[^\]]*\])?", "list", text)
    text = re.sub(r"Literal\[([^\]]*)\]", r"\1", text)
    return re.sub(", (null|list)$", r" or \1", text)
