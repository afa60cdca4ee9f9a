"""EstimateStore: estimates in files, so that runs that differ only in stage 2 compute stage 1 once."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rps
from rps.cost import Cost
from rps.estimators.base import Estimator
from rps.estimators.fingerprint import fingerprint
from rps.estimators.pseudo_inverse import PseudoInverse
from rps.measurement import Measurement
from rps.printable import printable
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.records.files import written


class EstimateStore:
    """A folder with the results of calls of estimators, each in a file named by a hash of all that determines it.

    A file holds the estimates of a whole batch, because sums of floats depend on how many images share a network call:
    what is read is, bit for bit, what the same call would compute. Other batches of the same images are computed anew.

    The name is the SHA-256 of `prior`; the versions of rps and torch; the device and the number of threads; the class
    and settings of the estimator and of the bound operator; and the measurement: y, noise, conditions and streams,
    i.e. seed and ids. A call with an operator or estimator whose settings are not known (see `fingerprint`) is not
    stored, and neither is A^+ y, which costs no more than reading it.

    Args:
        folder: created when needed. Its files may be removed at any time.
        prior: a text that identifies the prior, e.g. its config with a hash of its weights.
    """

    def __init__(self, folder: str | Path, prior: str) -> None:
        self.folder, self.prior = Path(folder), prior
        self.full = False

    def serve(self, estimator: Estimator) -> Estimator:
        """A copy of the estimator that reads its results from the store, and writes those that are not there.

        The prior's meter counts the cost and time of a result that is read as if it had been computed.
        """
        served = copy.copy(estimator)
        if not isinstance(estimator, PseudoInverse):
            vars(served)["estimate_and_spread"] = lambda measurement, prior: self._found(estimator, measurement, prior)
            vars(served)["estimate"] = lambda measurement, prior: self._found(estimator, measurement, prior)[0]
        return served

    def _found(self, estimator: Estimator, measurement: Measurement, prior: Prior) -> tuple[Tensor, Tensor | None]:
        path = self._path(estimator, measurement)
        if path is None or not isinstance(prior, CountedPrior):
            return estimator.estimate_and_spread(measurement, prior)
        if (read := _read(path)) is not None:
            stored, cost, seconds = read
            prior.meter.add_stored(cost, seconds)
            tensors = {name: x.to(measurement.y.device) for name, x in stored.items()}
            return tensors["estimate"], tensors.get("spread")
        before, start = prior.cost, time.perf_counter()
        estimate, spread = estimator.estimate_and_spread(measurement, prior)
        tensors = {"estimate": estimate} if spread is None else {"estimate": estimate, "spread": spread}
        host = {name: x.detach().cpu() for name, x in tensors.items()}  # waits for the device
        self._write(path, host, prior.cost - before, time.perf_counter() - start)
        return estimate.detach(), spread

    def _path(self, estimator: Estimator, measurement: Measurement) -> Path | None:
        """The file of a call; None if not everything that determines its result is known."""
        device = measurement.y.device
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        versions = [rps.__version__, torch.__version__, where, torch.get_num_threads()]
        try:
            text = fingerprint([versions, self.prior, estimator, measurement])
        except TypeError:
            return None
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def _write(self, path: Path, tensors: dict[str, Tensor], cost: Cost, seconds: float) -> None:
        """Writes a file; a store that cannot be written is reported once, and the run continues."""
        from safetensors.torch import save_file

        if self.full or not all(map(_dense, tensors.values())):
            return
        strides = {name: x.stride() for name, x in tensors.items()}
        about = {"cost": astuple(cost), "seconds": seconds, "strides": strides, "sha256": _digest(tensors)}
        try:
            with written(path) as temporary:
                save_file(
                    {name: x.contiguous() for name, x in tensors.items()}, temporary, {"about": json.dumps(about)}
                )
        except Exception as error:  # safetensors has its own class for a full disk
            self.full = True
            print(f"rps: stage 1 is not stored in {printable(self.folder)}: {printable(error)}", file=sys.stderr)


def _read(path: Path) -> tuple[dict[str, Tensor], Cost, float] | None:
    """(tensors, cost, seconds) of a file; None if it does not exist or is damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            stored = {name: file.get_tensor(name) for name in about["strides"]}
        tensors = {
            name: torch.empty_strided(x.shape, about["strides"][name], dtype=x.dtype).copy_(x)
            for name, x in stored.items()
        }
        return (tensors, Cost(*about["cost"]), about["seconds"]) if _digest(tensors) == about["sha256"] else None
    except Exception:  # a damaged file may raise almost anything, and is written again
        return None


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
