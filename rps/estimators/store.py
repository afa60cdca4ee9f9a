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
            vars(served)["estimate"] = lambda measurement, prior: self._estimate(estimator, measurement, prior)
        return served

    def _estimate(self, estimator: Estimator, measurement: Measurement, prior: Prior) -> Tensor:
        path = self._path(estimator, measurement)
        if path is None or not isinstance(prior, CountedPrior):
            return estimator.estimate(measurement, prior)
        if (found := _read(path)) is not None:
            estimate, cost, seconds = found
            prior.meter.add_stored(cost, seconds)
            return estimate.to(measurement.y.device)
        before, start = prior.cost, time.perf_counter()
        estimate = estimator.estimate(measurement, prior).detach()
        host = estimate.cpu()  # waits for the device
        self._write(path, host, prior.cost - before, time.perf_counter() - start)
        return estimate

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

    def _write(self, path: Path, estimate: Tensor, cost: Cost, seconds: float) -> None:
        """Writes a file; a store that cannot be written is reported once, and the run continues."""
        from safetensors.torch import save_file

        if not _dense(estimate) or self.full:
            return
        about = {"cost": astuple(cost), "seconds": seconds, "stride": estimate.stride(), "sha256": _digest(estimate)}
        try:
            with written(path) as temporary:
                save_file({"estimate": estimate.contiguous()}, temporary, {"about": json.dumps(about)})
        except Exception as error:  # safetensors has its own class for a full disk
            self.full = True
            print(f"rps: stage 1 is not stored in {printable(self.folder)}: {printable(error)}", file=sys.stderr)


def _read(path: Path) -> tuple[Tensor, Cost, float] | None:
    """(estimate, cost, seconds) of a file; None if it does not exist or is damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            stored = file.get_tensor("estimate")
        estimate = torch.empty_strided(stored.shape, about["stride"], dtype=stored.dtype).copy_(stored)
        return (estimate, Cost(*about["cost"]), about["seconds"]) if _digest(estimate) == about["sha256"] else None
    except Exception:  # a damaged file may raise almost anything, and is written again
        return None


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


def _digest(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
