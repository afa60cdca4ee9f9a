"""Stage 1 in a folder that runs share (--stage1): what identifies it in a config, and its store in a module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rps.cli.errors import InputError
from rps.records.choices import arguments

MODULES = "modules."
"""Beginning of the classes whose argument `prior` is all of the prior; another class may make its own."""


def stage1_settings(config: Mapping[str, Any]) -> str | None:
    """A text that is the same for the configs of runs that can share their estimates; None without an estimator.

    config: as read from the YAML of a parsed config. It shows which runs to store for, no more: what is read from a
    store is decided by the hash of each call.
    """
    given = arguments(config.get("model"))
    estimator = given.get("estimator") or arguments(given.get("traversal")).get("estimator")
    if not estimator or "PseudoInverse" in str(estimator):
        return None
    of_model = [_prior(config), *(given.get(name) for name in ("operator", "noise", "seed", "micro_batch"))]
    return json.dumps([of_model, estimator, config.get("data")], sort_keys=True, default=str)


def store_stage1(module: Any, config: Mapping[str, Any], folder: str) -> str | None:
    """Makes the traversal of a module read its estimates from the folder, and write those that are not there.

    -> why nothing is stored, or None. Errors: InputError if the folder cannot be one.
    """
    from rps.estimators import Estimator
    from rps.estimators.store import EstimateStore
    from rps.metrics.hashes import network_hash
    from rps.records import has_records, is_run

    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"--stage1 {folder} is a file; give a folder for the estimates of stage 1")
    output = (config.get("trainer") or {}).get("default_root_dir")
    if has_records(folder) or is_run(Path(folder)) or (output and Path(output).resolve() == Path(folder).resolve()):
        raise InputError(f"--stage1 {folder} is the folder of a run; give another one for the estimates of stage 1")
    traversal = getattr(module, "traversal", None)
    estimator, prior = getattr(traversal, "estimator", None), _prior(config)
    if traversal is None or not isinstance(estimator, Estimator):
        return f"{type(traversal or module).__name__} has no estimator, so that there is no stage 1 to store"
    if "Unable to serialize" in prior:
        return "the config does not name the class of the prior, so that stage 1 is not stored"
    traversal.estimator = EstimateStore(folder, f"{prior}, weights {network_hash(module.prior)}").serve(estimator)
    return None


def _prior(config: Mapping[str, Any]) -> str:
    """What a config says of the prior: its section or, for a module that is not ours, the whole model."""
    model = config.get("model") or {}
    ours = isinstance(model, Mapping) and str(model.get("class_path")).startswith(MODULES)
    return json.dumps(arguments(model).get("prior") if ours else model, sort_keys=True, default=str)
