"""What every datamodule shares: the batch contract, and samples split over processes and workers without repeats."""

from __future__ import annotations

import itertools
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice
from pathlib import PurePath
from typing import Any, Protocol, TypedDict, runtime_checkable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.pictures import SUFFIXES
from rps.printable import printable
from rps.records.ids import SeenIds, repeat_reason

Sample = tuple[str, Callable[[], Tensor]] | tuple[str, Callable[[], Tensor], Mapping[str, Any]]
"""A name, and what reads the picture: -> [C, H, W] in [-1, 1]. Whatever that raises is a failure of this sample.

What else is known may follow, {"caption": "a cat", "label": 281}: the same keys for all samples of a stream.
"""


@runtime_checkable
class Sharded(Protocol):
    """A stream that also comes in parts, any of which can be read without the others: files, as a rule."""

    num_shards: int

    def shard(self, index: int) -> Iterator[Sample]: ...

    def __iter__(self) -> Iterator[Sample]: ...


class Batch(TypedDict, total=False):
    """What a predict dataloader yields, and `predict_step` takes.

    id: N names. image: clean pictures [N, C, H, W] in [-1, 1]; or measurement: pictures that are already degraded, in
    the same units. caption: N texts, label: N classes, where the data have them. failed: (id, reason) of samples that
    could not be read. N may be 0, when nothing could.
    """

    id: list[str]
    image: Tensor
    measurement: Tensor
    caption: list[str]
    label: list[int]
    failed: list[tuple[str, str]]


class SampleBatches(IterableDataset[Batch]):
    """Batches of those samples of a stream that are this process's and this worker's.

    The sample at position p belongs to process p mod (number of processes); the workers of a process take its batches
    in turn. So every sample is read exactly once for any number of processes and workers, also when there are fewer
    samples than processes, and the batches are the same with any number of workers. Pictures of different shapes never
    share a batch.

    A stream of at least as many shards as there are readers (the workers of all processes) is split by shards instead,
    shard s to reader s mod (number of readers): nobody reads what is another's.

    Args:
        samples: the same samples in the same order in every process; iterated once per epoch and worker.
        batch_size: samples of one batch, those included that cannot be read.
        key: "image" or "measurement".
        process: (rank, number of processes); None asks torch.distributed.
        skip_ids: of samples that an earlier run has done, the same in every process; they are neither read nor counted
            among the positions.

    A sample whose id the reader has met before is a failure, under an id of its own.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        batch_size: int,
        key: str = "image",
        process: tuple[int, int] | None = None,
        skip_ids: AbstractSet[str] = frozenset(),
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.key = key
        self.process = process
        self.skip_ids = skip_ids

    def __getstate__(self) -> dict[str, object]:
        # A worker that is spawned has no process group to ask.
        return {**self.__dict__, "process": self.process or _distributed()}

    def __iter__(self) -> Iterator[Batch]:
        rank, world = self.process or _distributed()
        worker = get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        samples, reader, readers = self.samples, rank * workers + index, world * workers
        if isinstance(samples, Sharded) and samples.num_shards >= readers:
            shards = range(reader, samples.num_shards, readers)
            mine = self._wanted(_with_unique_ids(itertools.chain.from_iterable(map(samples.shard, shards))))
            index, workers = 0, 1  # every batch of these is this worker's
        else:
            mine = islice(self._wanted(_with_unique_ids(samples)), rank, None, world)
        for number in itertools.count():
            block = list(islice(mine, self.batch_size))
            if not block:
                return
            if number % workers == index:
                yield from self._read(block)

    def _wanted(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        # Before they are dealt out, so that the processes of a resumed run have equally much to do.
        return (sample for sample in samples if sample[0] not in self.skip_ids)

    def _read(self, block: list[Sample]) -> Iterator[Batch]:
        """One batch, or more where shapes differ; the first of them holds the failures."""
        alike: dict[tuple[int, ...], list[tuple[str, Tensor, list[Mapping[str, Any]]]]] = {}
        failed: list[tuple[str, str]] = []
        for name, read, *known in block:
            try:
                picture = read()
            except Exception as error:  # decoders raise nearly every kind; one picture must not end the run
                failed.append((name, _reason(error)))
            else:
                alike.setdefault(tuple(picture.shape), []).append((name, picture, known))
        for pictures in alike.values() or [[]]:
            names = [name for name, _, _ in pictures]
            stacked = torch.stack([picture for _, picture, _ in pictures]) if pictures else torch.zeros(0, 1, 1, 1)
            batch: Batch = {"id": names, self.key: stacked, "failed": failed}  # type: ignore[misc]
            for key in block[0][2] if len(block[0]) == 3 else ():
                batch[key] = [known[key] for _, _, (known,) in pictures]  # type: ignore[literal-required]
            yield batch
            failed = []


class SampleDataModule(L.LightningDataModule):
    """A datamodule made of `samples()`; batches as in `Batch`.

    Args:
        batch_size: samples of one batch.
        num_workers: processes that read ahead; 0 reads in the main one.
        limit: at most so many samples over all processes; None is all.
        skip: leave out so many samples first.

    Attributes:
        place: where the data lie, and which files they are where ids depend on that; known after setup, and a run that
            resumes must find it unchanged. None where that is not known.
        skip_ids: of samples that need not be read, because a resumed run has done them; set before the predict
            loop, the same in every process.
    """

    key = "image"
    place: str | None = None
    skip_ids: AbstractSet[str] = frozenset()

    def __init__(self, batch_size: int = 64, num_workers: int = 0, limit: int | None = None, skip: int = 0) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("limit", limit, 1),
            ("skip", skip, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.limit = limit
        self.skip = skip

    def samples(self) -> Iterable[Sample]:
        """All samples, in an order that is the same in every process; limit and skip are not your concern.

        The iterable is pickled into workers that are spawned, and iterated in each.
        """
        raise NotImplementedError(f"{type(self).__name__} must define samples()")

    def total(self) -> int | None:
        """How many samples there are before skip and limit; None when only reading them all would tell."""
        return None

    @property
    def wanted_ids(self) -> AbstractSet[str]:
        """Samples that were asked for by name, so that one which the data lack can be told; empty where none were."""
        return frozenset()

    @property
    def num_samples(self) -> int | None:
        """Samples of the whole run, over all processes; None when only reading them all would tell."""
        total = self.total()
        return None if total is None else len(range(total)[self._window()])

    def setup(self, stage: str) -> None:
        """Errors: ValueError when skip leaves nothing."""
        total = self.total()
        if total is not None and self.skip >= total:
            raise ValueError(f"skip must be less than the {total} samples that there are, got {self.skip}")

    def predict_dataloader(self) -> DataLoader[Batch]:
        process = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else None
        window = self._window()
        samples = _Window(self.samples(), window) if window != slice(0, None) else self.samples()
        return DataLoader(
            SampleBatches(samples, self.batch_size, self.key, process, self.skip_ids),
            batch_size=None,  # the dataset makes the batches
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            worker_init_fn=_leave_interrupts_to_the_main_process,
        )

    def check_recorded(self, recorded: AbstractSet[str]) -> None:
        """Called before the predict loop of a run that resumes.

        recorded: the ids of all samples of which the run has a record. Errors: ValueError when one of them is that of
        a sample which has another id now.
        """

    def report_left_out(self, paths: Sequence[PurePath], where: str) -> None:
        """Counts, on process zero, the files that are not read because they are no pictures by their extension."""
        if not paths or (self.trainer and self.trainer.global_rank):
            return
        endings = Counter(path.suffix or path.name for path in paths)
        named = ", ".join(f"{count} {printable(ending)}" for ending, count in sorted(endings.most_common(5)))
        more = ", ..." if len(endings) > 5 else ""
        files = f"{len(paths)} file{'s' * (len(paths) != 1)} of {printable(where)}"
        kinds = f"pictures are regular files that end in {', '.join(SUFFIXES)}"
        print(f"rps: {files} left out ({named}{more}); {kinds}", file=sys.stderr)

    def prior_shape(self, wanted: str) -> tuple[int, int, int]:
        """[C, H, W] of the images that the prior of the trainer's module makes.

        wanted: which arguments were left for the prior to say, for the error when there is none.
        """
        module: Any = self.trainer.lightning_module if self.trainer else None
        shape: tuple[int, int, int] | None = getattr(getattr(module, "prior", None), "image_shape", None)
        if shape is None:
            raise ValueError(
                f"{type(self).__name__} needs {wanted} when there is no trainer whose module has a prior to ask"
            )
        return shape

    def _window(self) -> slice:
        return slice(self.skip, None if self.limit is None else self.skip + self.limit)


class _Window:
    """samples[window] of a stream."""

    def __init__(self, samples: Iterable[Sample], window: slice) -> None:
        self.samples = samples
        self.window = window

    def __iter__(self) -> Iterator[Sample]:
        return islice(iter(self.samples), self.window.start, self.window.stop)


def _with_unique_ids(samples: Iterable[Sample]) -> Iterator[Sample]:
    """All samples; one whose id has come before fails, under an id of its own."""
    seen = SeenIds()
    for name, *rest in samples:
        unique = seen.unique(name)
        if unique != name:
            rest[0] = partial(_fail_as_repeat, name)
        yield (unique, *rest)


def _fail_as_repeat(name: str) -> Tensor:
    raise ValueError(repeat_reason(name))


def _as_it_is(batch: Any) -> Any:
    return batch


def _distributed() -> tuple[int, int]:
    """(rank, number of processes) of the process group, or of a process by itself."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _reason(error: Exception) -> str:
    """One line that says what is wrong with a sample."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"cannot be read: {text or type(error).__name__}"


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; workers would print a traceback each, and are shut down anyway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
