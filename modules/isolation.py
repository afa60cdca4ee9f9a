"""One sample's trouble is its own: batches that raise, diverge, or do not fit into memory."""

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
ALIKE = 4
"""So many samples that fail for one reason, before any has been restored, are no accident: the config is wrong."""
IN_VAIN = 8
"""After so many diverged samples whose repetition alone did not help, there are no more repetitions."""


@dataclass
class Isolation:
    """Restores batches so that every sample gets its images or a reason.

    - A batch that raises is done again one sample at a time; one that raises alone, after one repetition, is a failure.
    - A batch that does not fit into memory is halved until it does; later ones are made of parts of that size.
    - A sample with values that are not finite is done again alone, once; its better images are kept.
    - What is wrong with the config is raised: an error that all samples share, as long as none was restored. So is
      that of a device that is lost, on which everything would fail.

    proven: whether the config is known to be right, because samples have been restored with it, in this process or by
        an earlier run, or because samples fail for different reasons. most: samples that fit into memory at once.
    """

    proven: bool = False
    most: int | None = None
    suspect: str | None = None
    alike: int = 0
    vain: int = 0

    def run(self, batch: Batch, restore: Callable[[Batch], Prediction]) -> tuple[list[Prediction], dict[str, str]]:
        """-> predictions of parts of the batch, in its order, and the reasons of the samples that are in none."""
        parts: list[Prediction] = []
        failures: dict[str, str] = {}
        waiting = [(part, False) for part in split(batch, self.most)] if batch["id"] else []
        while waiting:
            part, repeated = waiting.pop(0)
            outcome, n = attempt(restore, part), len(part["id"])
            if isinstance(outcome, Prediction):
                self.proven = self.proven or bool(outcome.ids)
                parts.append(self._repeated_where_diverged(outcome, part, restore))
                continue
            if _device_is_lost(outcome):
                raise outcome
            if _out_of_memory(outcome) and n > 1:
                self.most = (n + 1) // 2
                print(f"out of memory with a batch of {n}; going on with {self.most}", file=sys.stderr)
                waiting[:0] = [(half, False) for half in split(part, self.most)]
            elif n > 1 or not repeated:
                waiting[:0] = [(single, True) for single in split(part, 1)]
            else:
                failures[part["id"][0]] = reason_of(outcome)
                self._judge(outcome, len(failures) == len(batch["id"]) > 1)
        return parts, failures

    def _judge(self, error: Exception, whole_batch: bool) -> None:
        """Raises what can only be the config's."""
        reason = reason_of(error)
        if self.proven or (self.suspect not in (None, reason)):
            self.proven = True
            return
        self.suspect, self.alike = reason, self.alike + 1
        if whole_batch or self.alike >= ALIKE:
            raise error

    def _repeated_where_diverged(
        self, prediction: Prediction, batch: Batch, restore: Callable[[Batch], Prediction]
    ) -> Prediction:
        bad = (~_finite(prediction.restoration)).nonzero().flatten().tolist() if len(prediction.ids) > 1 else []
        for i in bad:
            if self.vain >= IN_VAIN:
                break
            again = attempt(restore, rows(batch, [batch["id"].index(prediction.ids[i])]))
            if isinstance(again, Prediction) and again.ids and bool(_finite(again.restoration).all()):
                _replace_row(prediction.restoration, i, again.restoration)
                self.vain = 0
            else:
                self.vain += 1
        return prediction


def attempt(restore: Callable[[Batch], Prediction], batch: Batch) -> Prediction | Exception:
    """What restore(batch) returns or raises; an error lets go of the tensors that its frames hold."""
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
    """Some samples of a batch, without those that could not be read."""
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


def joined(
    parts: Sequence[Prediction], batch: Batch, measure: Callable[[Batch], Measurement], empty: Restoration
) -> Prediction:
    """The parts of a batch as one prediction.

    measure: a function of the samples alone, so that it may be asked again. empty: a restoration of no images.
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
    """One line that says what is wrong with a sample."""
    text = " ".join(str(error).split())
    if _out_of_memory(error):
        return f"out of memory, also by itself: {text}"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _device_is_lost(error: Exception) -> bool:
    """After an illegal access nothing runs on a GPU any more, in this process."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error) and not _out_of_memory(error)


def _finite(restoration: Restoration) -> Tensor:
    """[N], whether all images of a sample are finite."""
    each = [images.isfinite().flatten(1).all(1) for images in restoration.images.values()]
    return torch.stack(each).all(0)


def _replace_row(restoration: Restoration, i: int, single: Restoration) -> None:
    """The images of a sample by those of a second attempt, whose calls are added to the total."""
    for mine, theirs in ((restoration.images, single.images), (restoration.spread, single.spread)):
        for level, values in mine.items():
            mine[level] = values.clone()  # levels may be views of one tensor
            mine[level][i] = theirs[level][0]
    restoration.total_network_calls[i] += single.total_network_calls[0]
