"""Compares the config of a run with another, in everything that affects the results."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

HOW_TRAINER = {
    "accelerator", "strategy", "devices", "num_nodes", "default_root_dir", "logger", "log_every_n_steps", "profiler",
    "enable_progress_bar", "enable_model_summary", "enable_checkpointing", "plugins", "benchmark", "detect_anomaly",
    "barebones", "sync_batchnorm", "use_distributed_sampler", "limit_predict_batches", "inference_mode",
}  # fmt: skip
"""Keys of the trainer that determine where and how it runs."""
HOW = {
    "batch_size", "num_workers", "micro_batch", "max_batch", "cache_dir", "device", "token", "attempts", "backoff",
    "retry_failed", "compile", "channels_last",
}  # fmt: skip
"""Names of arguments, of any class, that do so too."""
HOW_CALLBACKS = ("ProgressBar",)
"""Callbacks that affect no record."""
ABSENT = "nothing"
OURS = re.compile(r"rps\.(?:estimators|operators|priors|samplers|traversals)\.([A-Z]\w*)")
"""Paths of classes that rps also holds under their short names."""


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One phrase per value that differs, except where and how the run is executed.  old, new: as read from YAML."""
    return [f"{key} was {before} and is now {now}" for key, before, now in differences(_what(old), _what(new))]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, old value, new value) of what differs, as text, except arguments of where and how it runs."""
    before, now = _flat(old), _flat(new)
    keys = [*before, *(key for key in now if key not in before)]
    return [  # keys as on the command line
        (key.replace(".init_args", "").removesuffix(".class_path"), _shown(before, key), _shown(now, key))
        for key in keys
        if _same(before.get(key)) != _same(now.get(key))  # an option that did not exist yet counts as null
        and not (key not in before and _is_default(now, key))  # or as its default
    ]


def _is_default(config: Mapping[str, Any], key: str) -> bool:
    """Whether an option of a class has its default; False if the class is not imported, which this never does.

    config: dotted key -> value.
    """
    from jsonargparse import ArgumentParser

    owner, found, name = key.rpartition(".init_args.")
    module, _, class_name = str(config.get(f"{owner}.class_path")).rpartition(".")
    kind = getattr(sys.modules.get(module), class_name, None)
    if not found or not isinstance(kind, type):
        return False
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)  # follows **kwargs, unlike inspect
    return name in (defaults := parser.get_defaults().as_dict()) and defaults[name] == config[key]


def _same(value: Any) -> Any:
    """The value, and "rps.Dps" for "rps.samplers.Dps": the parser writes either."""
    if isinstance(value, str) and (path := OURS.fullmatch(value)):
        return f"rps.{path[1]}"
    return value


def _what(config: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: value for name, value in config.items() if name in ("model", "data", "trainer")}
    trainer = {k: v for k, v in (sections.get("trainer") or {}).items() if k not in HOW_TRAINER}
    callbacks = trainer.get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    names = [str(c.get("class_path") if isinstance(c, Mapping) else c) for c in callbacks]
    trainer["callbacks"] = [c for c, name in zip(callbacks, names, strict=True) if not name.endswith(HOW_CALLBACKS)]
    return {**sections, "trainer": trainer}


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list of plain values is one value."""
    if isinstance(value, Mapping):
        parts = {str(name): item for name, item in value.items() if name not in HOW}
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        parts = {str(i): item for i, item in enumerate(value)}
    else:
        return {key: value}
    found: dict[str, Any] = {}
    for name, item in parts.items():
        found |= _flat(item, f"{key}.{name}" if key else name)
    return found


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False, default=str) if key in values else ABSENT
