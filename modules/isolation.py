"""Isolates failures: a sample that raises or does not fit into memory does not affect the others of its batch."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.restoration import Prediction, Restoration

Batch = dict[str, Any]


@dataclass
class Isolation:
    """Restores batches so that every sample gets its images or a reason.

    - A batch that raises is split into its samples; a sample that raises alone is a failure.
    - A batch that does not fit into memory is halved until it does; later ones are made of parts of that size.
    - An error of the config is raised: one that all samples of a batch share before any sample was restored. So is the
      loss of a device, on which everything would fail.

    A result is a function of (seed, id), so nothing is retried.

    proven: whether samples have been restored with this config, by this process or an earlier run. most: number of
        samples that fit into memory at once.
    """

    proven: bool = False
    most: int | None = None

    def run(self, batch: Batch, restore: Callable[[Batch], Prediction]) -> tuple[list[Prediction], dict[str, str]]:
        """-> predictions of parts of the batch, in its order, and id -> reason of the samples that failed."""
        parts: list[Prediction] = []
        failures: dict[str, str] = {}
        waiting = split(batch, self.most) if batch["id"] else []
        while waiting:
            part = waiting.pop(0)
            outcome, n = attempt(restore, part), len(part["id"])
            if isinstance(outcome, Prediction):
                self.proven = self.proven or bool(outcome.ids)
                parts.append(outcome)
            elif "CUDA error" in str(outcome) and isinstance(outcome, RuntimeError) and not _out_of_memory(outcome):
                raise outcome  # after an illegal access, nothing in this process can use the GPU any more
            elif n == 1:
                failures[part["id"][0]] = reason_of(outcome)
                if not self.proven and len(failures) == len(batch["id"]) > 1 and len(set(failures.values())) == 1:
                    raise outcome
            elif _out_of_memory(outcome):
                self.most = (n + 1) // 2
                print(f"out of memory with a batch of {n}; continuing with {self.most}", file=sys.stderr)
                waiting[:0] = split(part, self.most)
            else:
                waiting[:0] = split(part, 1)
        return parts, failures


def attempt(restore: Callable[[Batch], Prediction], batch: Batch) -> Prediction | Exception:
    """What restore(batch) returns or raises; the frames of an error release their tensors."""
    try:
        return restore(batch)
    except Exception as error:
        link: BaseException | None = error
        while link is not None:
            traceback.clear_frames(link.__traceback__)
            link = link.__cause__ or link.__context__
        outcome = error
    if _out_of_memory(outcome):
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return outcome


def rows(batch: Batch, index: Sequence[int]) -> Batch:
    """The samples of a batch at these positions, without those that could not be read."""
    return {
        name: value[list(index)] if isinstance(value, Tensor) else [value[i] for i in index]
        for name, value in batch.items()
        if name != "failed"
    }


def split(batch: Batch, size: int | None) -> list[Batch]:
    n = len(batch["id"])
    if size is None or n <= size:
        return [batch]
    return [rows(batch, range(start, min(start + size, n))) for start in range(0, n, size)]


def join(
    parts: Sequence[Prediction], batch: Batch, measure: Callable[[Batch], Measurement], empty: Restoration
) -> Prediction:
    """The parts of a batch as one prediction.

    measure: depends on the samples alone, so it may be called again. empty: a restoration without images.
    """
    if len(parts) == 1:
        return parts[0]
    restored = [part for part in parts if part.ids]
    ids = [id_ for part in restored for id_ in part.ids]
    failures = {id_: reason for part in parts for id_, reason in part.failures.items()}
    if not ids:
        return Prediction([], None, measure({"id": []}), empty, failures)
    kept = rows(batch, [batch["id"].index(id_) for id_ in ids])
    restoration = Restoration.cat([part.restoration for part in restored])
    return Prediction(ids, kept.get("image"), measure(kept), restoration, failures)


def reason_of(error: Exception) -> str:
    """One line that states why a sample failed."""
    text = " ".join(str(error).split())
    if _out_of_memory(error):
        return f"out of memory, even in a batch of one: {text}"
    if isinstance(error, ValueError | FileNotFoundError) and text:
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
