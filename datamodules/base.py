"""The base of all datamodules: the batch contract, and samples split over processes and workers without repeats."""

from __future__ import annotations

import itertools
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import PurePath
from typing import Any, ClassVar, Protocol, TypedDict, runtime_checkable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.subset import Subset, choice
from rps.pictures.reading import SUFFIXES
from rps.printable import printable
from rps.protocol import RunData, run_module
from rps.records.ids import SeenIds, repeat_reason
from rps.restoration import Level
from rps.settings import at_least_one

Sample = tuple[str, Callable[[], Tensor]] | tuple[str, Callable[[], Tensor], Mapping[str, Any]]
"""(id, function that reads the picture -> [C, H, W] in [-1, 1]); an exception from the function fails this sample only.

A third entry may hold conditions such as {"caption": "a cat", "label": 281}, with the same keys throughout a stream.
"""


@runtime_checkable
class Sharded(Protocol):
    """A stream made of shards (usually files), each of which can be read without the others."""

    num_shards: int

    def shard(self, index: int) -> Iterator[Sample]: ...


class Batch(TypedDict, total=False):
    """A batch, as a predict dataloader yields it and `predict_step` takes it.

    id: N names. image: clean pictures [N, C, H, W] in [-1, 1]; or measurement: pictures that are already degraded, in
    the same units. caption: N texts, label: N classes, if the data have them. failed: (id, reason) of samples that
    could not be read. N is 0 if no sample of the batch could be read.
    """

    id: list[str]
    image: Tensor
    measurement: Tensor
    caption: list[str]
    label: list[int]
    failed: list[tuple[str, str]]


@dataclass(eq=False)
class SampleBatches(IterableDataset[Batch]):
    """Batches of the samples of a stream that belong to this process and this worker.

    The sample at position p belongs to process p mod (number of processes); the workers of a process take its batches
    in turn. So every sample is read exactly once for any number of processes and workers, even with fewer samples than
    processes, and the batches do not depend on the number of workers. Pictures of different shapes never share a batch,
    nor do samples that lack different levels.

    A stream with at least as many shards as readers (the workers of all processes) is split by shards instead: shard s
    goes to reader s mod (number of readers), and no reader opens another reader's shards.

    Args:
        samples: the same samples in the same order in every process; iterated once per epoch and worker.
        batch_size: number of samples in one batch, including those that cannot be read.
        key: "image" or "measurement".
        process: (rank, number of processes).
        skip_ids: ids of samples that an earlier run finished, the same in every process; these samples are not read
            and do not count as positions.
        only_ids: ids of the samples to read, likewise; None is all.
        levels_left: id -> levels, of the samples that an earlier run finished at the other levels.

    A sample that repeats an earlier id of the same reader fails, under a new unique id.
    """

    samples: Iterable[Sample]
    batch_size: int
    key: str = "image"
    process: tuple[int, int] = (0, 1)
    skip_ids: AbstractSet[str] = frozenset()
    only_ids: AbstractSet[str] | None = None
    levels_left: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Batch]:
        (rank, world), worker = self.process, get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        samples, reader, readers = self.samples, rank * workers + index, world * workers
        if isinstance(samples, Sharded) and samples.num_shards >= readers:
            shards = range(reader, samples.num_shards, readers)
            mine = self._wanted(_with_unique_ids(itertools.chain.from_iterable(map(samples.shard, shards))))
            index, workers = 0, 1  # all batches of these shards belong to this worker
        else:
            mine = islice(self._wanted(_with_unique_ids(samples)), rank, None, world)
        for number in itertools.count():
            block = list(islice(mine, self.batch_size))
            if not block:
                return
            if number % workers == index:
                alike: dict[tuple[Level, ...] | None, list[Sample]] = {}
                for sample in block:
                    alike.setdefault(self.levels_left.get(sample[0]), []).append(sample)
                for part in alike.values():
                    yield from self._read(part)

    def _wanted(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        # Filtered before the samples are split, so that the processes of a resumed run have equal work.
        left = (sample for sample in samples if sample[0] not in self.skip_ids)
        if self.only_ids is None:
            return left
        chosen = (sample for sample in left if sample[0] in self.only_ids)
        return islice(chosen, len(self.only_ids))  # ends once all are found

    def _read(self, block: list[Sample]) -> Iterator[Batch]:
        """One batch per shape of picture; the first batch holds the failures."""
        alike: dict[tuple[int, ...], list[tuple[str, Tensor, list[Mapping[str, Any]]]]] = {}
        failed: list[tuple[str, str]] = []
        for name, read, *known in block:
            try:
                picture = read()
            except Exception as error:  # decoders raise almost any exception; one picture must not end the run
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


class SampleDataModule(L.LightningDataModule, RunData):
    """Base class of datamodules that define `samples()`; yields batches as in `Batch`.

    Args:
        batch_size: number of samples in one batch.
        num_workers: number of worker processes that load data; 0 loads it in the main process.
        limit: largest number of samples over all processes; null is all.
        skip: number of samples to skip at the start.
        subset: list of ids to restore, where an id that the data lack is a failed sample; or the number of samples to
            choose at random, where a larger number with the same seed includes the samples of a smaller one.
        subset_seed: seed of the random choice.

    skip and limit count the samples of the subset. place, skip_ids, levels_left, only_ids, selection: see RunData. If
    ids depend on the files, place ends with a digest of these; known after setup.
    """

    selection: ClassVar[tuple[str, ...]] = ("limit", "skip", "subset", "subset_seed")
    key = "image"

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        limit: int | None = None,
        skip: int = 0,
        subset: int | list[str] | None = None,
        subset_seed: int = 0,
    ) -> None:
        super().__init__()
        at_least_one(batch_size=batch_size, limit=limit)
        for name, value in (("num_workers", num_workers), ("skip", skip)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if isinstance(subset, int) and subset < 1:
            raise ValueError(f"subset must be a list of ids or a number of samples >= 1, got {subset}")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.limit = limit
        self.skip = skip
        self.subset, self.subset_seed = subset, subset_seed

    def samples(self) -> Iterable[Sample]:
        """All samples, in the same order in every process; the base class applies limit and skip.

        The iterable is pickled into spawned workers, and iterated in each.
        """
        raise NotImplementedError(f"{type(self).__name__} must define samples()")

    def chosen(self) -> Iterable[Sample]:
        """The samples of the subset."""
        samples = self.samples()
        if self.subset is None or self.only_ids is not None:
            return samples
        if isinstance(self.subset, list):
            return Subset(samples, ids=frozenset(map(str, self.subset)))
        return Subset(samples, frozenset(choice(self.subset, [self.total() or 0], self.subset_seed)[0]))

    def taken(self) -> Iterable[Sample]:
        """The samples of the subset that skip and limit leave."""
        window = self._window()
        return Subset(self.chosen(), range(sys.maxsize)[window]) if window != slice(0, None) else self.chosen()

    @property
    def wanted_ids(self) -> AbstractSet[str]:
        """The ids in `subset`, unless `skip` or `limit` leaves some of them out."""
        named = frozenset(map(str, self.subset)) if isinstance(self.subset, list) else frozenset()
        return named if self._window().indices(len(named)) == (0, len(named), 1) else frozenset()

    def _available(self) -> int | None:
        """Number of samples of the subset, or an upper bound."""
        if self.subset is None:
            return self.total()
        return self.subset if isinstance(self.subset, int) else len(set(self.subset))

    @property
    def num_samples(self) -> int | None:
        if self.only_ids is not None:
            return len(self.only_ids)
        total = self._available()
        return self.limit if total is None else len(range(total)[self._window()])

    def setup(self, stage: str) -> None:
        """Errors: ValueError if skip leaves no sample."""
        total = self._available()
        if total is not None and self.skip >= total:
            raise ValueError(f"skip must be less than the number of samples, {total}, got {self.skip}")

    def predict_dataloader(self) -> DataLoader[Batch]:
        process = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else _distributed()
        size = self.batch_size if run_module(getattr(self.trainer, "lightning_module", None)).alike else 1
        return DataLoader(
            SampleBatches(self.taken(), size, self.key, process, self.skip_ids, self.only_ids, self.levels_left),
            batch_size=None,  # the dataset makes the batches
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            worker_init_fn=_leave_interrupts_to_the_main_process,
        )

    def report_left_out(self, paths: Sequence[PurePath], where: str) -> None:
        """Prints, on process zero, how many files are not read because their extension is not that of a picture."""
        if not paths or (self.trainer and self.trainer.global_rank):
            return
        endings = Counter(path.suffix or path.name for path in paths)
        named = ", ".join(f"{count} {printable(ending)}" for ending, count in sorted(endings.most_common(5)))
        more = ", ..." if len(endings) > 5 else ""
        files = f"{len(paths)} file{'s' * (len(paths) != 1)} of {printable(where)}"
        kinds = f"pictures are regular files that end in {', '.join(SUFFIXES)}"
        print(f"rps: ignored {files} ({named}{more}); {kinds}", file=sys.stderr)

    def picture_form(
        self, channels: int | None, size: int | None, own_size: bool = False
    ) -> tuple[int, tuple[int, int] | None]:
        """The channels and the (height, width) of the pictures: as given, else of the images that the prior of the
        trainer's module generates. Pictures keep their own size, None, if own_size is set or the prior takes any size.

        Errors: ValueError if there is no such prior, or its images are not pictures.
        """
        module = run_module(getattr(self.trainer, "lightning_module", None))
        if module.image_shape is None and (channels is None or (size is None and not own_size)):
            raise ValueError(
                f"{type(self).__name__} has no prior that determines the shape of its pictures; give "
                f"{'channels' if own_size else 'size and channels'}"
            )
        of_prior, height, width = module.image_shape or (0, 0, 0)
        if (channels := channels or of_prior) not in (1, 3):
            raise ValueError(
                f"the prior generates images of {channels} channels, but pictures have 1 or 3; choose another prior"
            )
        if size is not None:
            return channels, (size, size)
        return channels, None if own_size or module.any_size else (height, width)

    def _window(self) -> slice:
        if self.only_ids is not None:
            return slice(0, None)
        return slice(self.skip, None if self.limit is None else self.skip + self.limit)


def _with_unique_ids(samples: Iterable[Sample]) -> Iterator[Sample]:
    """All samples; a sample that repeats an earlier id fails, under a new unique id."""
    seen = SeenIds()
    for name, *rest in samples:
        unique = seen.unique(name)
        if unique != name:
            rest[0] = partial(fail, repeat_reason(name))
        yield (unique, *rest)


def fail(reason: str) -> Tensor:
    """In place of the function that reads a picture: fails its sample."""
    raise ValueError(reason)


def _as_it_is(batch: Any) -> Any:
    return batch


def _distributed() -> tuple[int, int]:
    """(rank, number of processes) of the process group, or (0, 1) without one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _reason(error: Exception) -> str:
    """The reason for a sample's failure, on one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"cannot be read: {text or type(error).__name__}"


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """Ignores SIGINT, which Ctrl-C sends to every process: workers would each print a traceback before they are shut
    down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
