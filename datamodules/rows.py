"""Turns the rows of a data set that Hugging Face datasets streams into samples."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

from torch import Tensor

from datamodules.base import Sample, fail
from datamodules.retry import Retry
from rps.pictures.ids import ids_of
from rps.pictures.reading import SUFFIXES

BLOCK = 32
"""Number of rows that are held in memory at once."""


@dataclass(frozen=True)
class Columns:
    """Names of columns.  image: encoded pictures, {"bytes", "path"}.

    id: sample ids; None uses the file name stored with each picture. by_index: whether to use the row's position
    instead: "7", or "2-7" for row 7 of shard 2 if there are several shards.
    """

    image: str
    caption: str | None = None
    label: str | None = None
    id: str | None = None
    by_index: bool = False

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys(name for name in (self.image, self.caption, self.label, self.id) if name is not None))


@dataclass(frozen=True)
class Rows:
    """Samples of a streamed data set, in the order of its shards; a `Sharded` stream.

    dataset: a datasets.IterableDataset whose pictures are not decoded. sources: address of each shard, for errors.
    decode: turns encoded bytes into a picture. files: path -> id, of an image folder; only these files are opened,
    because a path stored in the data could point anywhere. chosen: shard -> its wanted rows; None is all.
    only: the wanted ids; None is all.
    """

    dataset: Any
    sources: Sequence[str]
    columns: Columns
    decode: Callable[[io.BytesIO], Tensor]
    retry: Retry
    files: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[int, frozenset[int]] | None = None
    only: frozenset[str] | None = None

    @property
    def num_shards(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Sample]:
        return chain.from_iterable(map(self.shard, range(self.num_shards)))

    def shard(self, index: int) -> Iterator[Sample]:
        """The samples of one shard; a shard without wanted rows is not opened."""
        chosen = None if self.chosen is None else self.chosen.get(index, frozenset())
        if chosen is not None and not chosen:
            return
        for number, row in enumerate(islice(self.rows(index), None if chosen is None else max(chosen) + 1)):
            if self.is_wanted(index, number) and self._is_picture(row[self.columns.image]):
                sample = self._sample(index, number, row)
                if self.only is None or sample[0] in self.only:
                    yield sample

    def is_wanted(self, shard: int, number: int) -> bool:
        """Whether `chosen` contains the row."""
        return self.chosen is None or number in self.chosen.get(shard, ())

    def _is_picture(self, image: Any) -> bool:
        """False for files of an image folder that datasets lists as pictures but are not (it lists all in a ZIP)."""
        listed = self.files and image and image["bytes"] is None and image["path"] is not None
        return not listed or image["path"].partition("::")[0].lower().endswith(SUFFIXES)

    def rows(self, index: int) -> Iterator[dict[str, Any]]:
        """The columns of every row of a shard. After a fault, the shard is read again up to the same row."""

        def start(done: int) -> Iterator[dict[str, Any]]:
            # .iter, because plain iteration in a DataLoader worker would split the rows over the workers once more.
            for block in self.dataset.shard(self.num_shards, index).iter(batch_size=BLOCK):
                values = [block[name] for name in self.columns.all]
                rows = [dict(zip(self.columns.all, row, strict=True)) for row in zip(*values, strict=True)]
                skipped = min(done, len(rows))
                done -= skipped
                yield from rows[skipped:]

        return self.retry.stream(self.sources[index], start)

    def _sample(self, shard: int, number: int, row: dict[str, Any]) -> Sample:
        image = row[self.columns.image] or {"bytes": None, "path": None}
        name = self.name(shard, number, image["path"] if self.columns.id is None else row[self.columns.id])
        read: Callable[[], Tensor] = partial(_read, image, self.decode, image["path"] in self.files, self.retry)
        if name is None:
            source = "file name" if self.columns.id is None else f"value in column {self.columns.id!r}"
            reason = (
                f"row {number} of {self.sources[shard]} has no {source} to be named by; give a column of ids as "
                "id_column, or use id_from: index"
            )
            if number == 0 and image["bytes"] is not None:
                raise ValueError(reason)  # most likely no row has one
            name = f"row:{shard}-{number}"  # ids made from file names contain no colon
            read = partial(fail, reason) if image["bytes"] is not None else read
        known: dict[str, Any] = {}
        if self.columns.caption is not None:
            known["caption"] = _text(row[self.columns.caption])
        if self.columns.label is not None:
            known["label"] = row[self.columns.label]  # the prior checks that it is a class
        return (name, read, known) if known else (name, read)

    def name(self, shard: int, number: int, value: Any) -> str | None:
        """The id of a row, or None if it has none.  value: the row's entry in the id column, or its file name."""
        if self.columns.id is None and self.columns.by_index:
            return f"{shard}-{number}" if self.num_shards > 1 else str(number)
        if value is None or self.columns.id is not None:
            return None if value is None else str(value)
        return self.files.get(value) or ids_of([PurePath(value)])[0]


def _read(image: dict[str, Any], decode: Callable[[io.BytesIO], Tensor], listed: bool, retry: Retry) -> Tensor:
    data = image["bytes"]
    if data is None and listed:
        data = retry.call(image["path"], partial(_content, image["path"]))
    if data is None:
        raise ValueError("cannot be read: the row contains no image")
    return decode(io.BytesIO(data))


def _content(path: str) -> bytes:
    import fsspec

    with fsspec.open(path, "rb") as file:
        return bytes(file.read())


def _text(value: Any) -> str:
    """The caption; the first one if there are several, "" if there is none."""
    if isinstance(value, list | tuple):
        value = value[0] if len(value) else None
    return "" if value is None else str(value)


def keep_encoded(dataset: Any, columns: Columns) -> Any:
    """A datasets.IterableDataset with these columns only and its pictures still encoded."""
    import datasets

    return dataset.select_columns(columns.all).cast_column(columns.image, datasets.Image(decode=False))
