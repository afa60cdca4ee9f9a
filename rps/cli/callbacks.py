"""The callbacks of a command line: --metric, --trainer.callbacks and --trainer.callbacks.NAME.OPTION."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from rps.bounded_yaml import load_yaml
from rps.cli.classes import parameters, spelled
from rps.cli.errors import InputError, did_you_mean
from rps.cli.flags import read_flags

OPTION = "trainer.callbacks"
CALLBACKS = ("MetricRecorder", "ImageWriter", "GridWriter", "ProgressBar")
"""Callbacks of a run whose configs name none."""


def class_node(option: str, text: str) -> dict[str, Any]:
    """The value of --metric or --features: a class, or YAML with class_path and init_args.  Errors: ValueError."""
    value = load_yaml(text, f"{option} {text}")
    node = {"class_path": value} if isinstance(value, str) else value
    if not isinstance(node, dict) or not isinstance(node.get("class_path"), str):
        raise InputError(f"{option} must be a class, or {{class_path: ..., init_args: ...}}, got {text}")
    return {**node, "class_path": spelled(node["class_path"], "metrics")}


def configure(
    contents: Sequence[Mapping[str, Any]], metrics: Sequence[dict[str, Any]], options: Sequence[str]
) -> tuple[list[Any] | None, list[str]]:
    """The callbacks of the last config that names any, or the default ones, as the flags change them.

    contents: of the configs. metrics: more metrics for MetricRecorder. options: of the command line, of which
    --trainer.callbacks replaces the list, --trainer.callbacks+ adds to it, and --trainer.callbacks.NAME.OPTION sets an
    option of the callback whose class has this name, in any case, wherever the flag and the callback stand.
    -> the callbacks and the other options; None and all options, left to the parser, without a metric or a NAME.
    Errors: InputError.
    """
    flags = [(i, place, value) for i, place, value in read_flags(options) if ".".join(place[:2]).rstrip("+") == OPTION]
    if not metrics and not any(len(place) > 2 for _, place, _ in flags):
        return None, list(options)
    trainers = [content["trainer"] for content in contents if isinstance(content.get("trainer"), dict)]
    named = [trainer["callbacks"] for trainer in trainers if trainer.get("callbacks")]
    callbacks = _nodes(named[-1] if named else [f"rps.callbacks.{name}" for name in CALLBACKS])
    for _, place, value in sorted(flags, key=lambda flag: len(flag[1]) > 2):  # the list before options of its items
        if len(place) == 2:
            callbacks = [*(callbacks if place[1].endswith("+") else []), *_nodes(value)]
            continue
        flag, name, *keys = f"--{'.'.join(place)}", *place[2:]
        if not keys:
            raise InputError(f"{flag}: name callback and option, as in --trainer.callbacks.GridWriter.max_grids 4")
        node = _named(callbacks, name, flag)
        known = parameters(node["class_path"])
        if known and keys[0] not in known:
            hint = did_you_mean(keys[0], known) or f"it takes {', '.join(known)}"
            raise InputError(f"{flag}: {node['class_path']} has no option {keys[0]}; {hint}")
        _set(node, keys, value)
    if metrics:
        recorder = next((node for node in callbacks if node["class_path"].endswith("MetricRecorder")), None)
        if recorder is None:
            raise InputError("--metric needs an rps.callbacks.MetricRecorder among the callbacks; add one")
        arguments = recorder.setdefault("init_args", {})
        arguments["metrics"] = [*(arguments.get("metrics") or []), *metrics]
    taken = {k for i, _, _ in flags for k in ([i] if "=" in options[i] else [i, i + 1])}
    return callbacks, [option for k, option in enumerate(options) if k not in taken]


def _nodes(value: Any) -> list[dict[str, Any]]:
    """Callbacks as mappings with class_path."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    nodes = [{"class_path": item} if isinstance(item, str) else copy.deepcopy(item) for item in items]
    if not all(isinstance(node, dict) and isinstance(node.get("class_path"), str) for node in nodes):
        raise InputError(f"trainer.callbacks must be classes, or {{class_path: ..., init_args: ...}}, got {value}")
    return [{**node, "class_path": spelled(node["class_path"], "callbacks")} for node in nodes]


def _named(callbacks: Sequence[dict[str, Any]], name: str, flag: str) -> dict[str, Any]:
    """The callback whose class has this name, in any case.  Errors: InputError if there is none, or are several."""
    names = [node["class_path"].rpartition(".")[2] for node in callbacks]
    found = [node for node, own in zip(callbacks, names, strict=True) if own.lower() == name.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{flag}: {len(found)} of the callbacks are a {name}; set the option in a config")
    hint = did_you_mean(name, names) or f"the callbacks are {', '.join(names) or 'none'}"
    raise InputError(f"{flag}: there is no callback {name!r}; {hint}")


def _set(node: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Sets the value below a class, given as a mapping with class_path, or below any other mapping."""
    key, *below = keys
    values = node.setdefault("init_args", {}) if "class_path" in node else node
    if below:
        inner = values.get(key)
        values[key] = {"class_path": inner} if isinstance(inner, str) else inner if isinstance(inner, dict) else {}
        _set(values[key], below, value)
    else:
        values[key] = value
