"""Data sets of the Hugging Face hub, and local or remote files in the same formats."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from datamodules.base import SampleDataModule
from datamodules.hub import Opened, open_split, parquet_rows
from datamodules.repeats import refuse_repeated_ids
from datamodules.retry import Retry
from datamodules.rows import Columns, Rows, keep_encoded
from datamodules.subset import choice
from rps.pictures.ids import ids_of, refuse_missing, refuse_renamed
from rps.pictures.reading import Fit, read_picture


class HuggingFace(SampleDataModule):
    """Pictures that `datasets` streams: nothing is stored on disk, and no code from a data set is ever run.

    rps.pictures.read_picture centre-crops and resizes clean pictures with antialiasing. A picture that cannot
    be decoded is a failed sample, and so is a row without a picture or without an id (it is named "row:2-7" for row 7
    of shard 2). Image folders may contain ZIP archives of pictures.

    Processes and workers split the data by shards (files), or by position if there are fewer shards than readers or if
    `skip` or `limit`, which count positions, are given. An id shared by two samples stops the run before the first
    sample is computed if a column of parquet or arrow files, or the headers of local .tar archives, reveal it;
    otherwise the second sample fails.

    For gated data sets, log in with `hf auth login` or set HF_TOKEN.

    Args:
        path: a data set on the hub ("ILSVRC/imagenet-1k"), a local folder with one, or the format of the files named by
            data_files or data_dir: "parquet", "arrow", "webdataset" (tar archives) or "imagefolder".
        name: configuration of the data set.
        split: split of the data set; "train" also means all files that are given without a split.
        revision: commit of a data set on the hub.
        data_files: paths, patterns or https addresses: one, a list, or a mapping from split to either.
        data_dir: folder of the files.
        image_column: column of pictures; null takes the only one.
        caption_column: column of texts for the batch's "caption", the first text if a row has several; null for none.
        label_column: column of integers for the batch's "label", the class of each picture; null for none.
        id_column: column of sample ids; null uses id_from.
        id_from: "file" (the name of the picture's file) or "index" (its position). "index" requires a pinned revision,
            and a run does not resume with another list of files.
        size: height and width of the pictures, in pixels; null is the prior's size, or each picture's own if the prior
            takes any (rps.priors.TiledPrior).
        fit: how pictures get the size: null or "crop", cut to a square; "resize", whole, so that the longer side has
            it, and smaller pictures keep theirs; or "pad", likewise, with a mirrored border that makes it a square.
        channels: 1 (grey) or 3 (RGB); null is the prior's number.
        enlarge: whether pictures smaller than size are enlarged; if not, they are failed samples.
        batch_size: number of pictures in one batch.
        attempts: number of attempts at a read before a network or hub failure ends the run.
        backoff: seconds before the second attempt, doubled for each further one (datamodules.retry.Retry).
        kwargs: other arguments of SampleDataModule.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        split: str = "train",
        revision: str | None = None,
        data_files: str | list[str] | dict[str, str | list[str]] | None = None,
        data_dir: str | None = None,
        image_column: str | None = None,
        caption_column: str | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        id_from: Literal["file", "index"] = "file",
        size: int | None = None,
        fit: Fit | None = None,
        channels: int | None = None,
        enlarge: bool = False,
        batch_size: int = 16,
        attempts: int = 6,
        backoff: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, **kwargs)
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
        self.path, self.name, self.split, self.revision = path, name, split, revision
        self.data_files, self.data_dir = data_files, data_dir
        self.image_column, self.caption_column, self.label_column = image_column, caption_column, label_column
        self.id_column, self.id_from = id_column, id_from
        self.size, self.fit, self.channels, self.enlarge = size, fit, channels, enlarge
        self.retry = Retry(attempts, backoff)
        self._pictures: dict[str, PurePosixPath] = {}
        self._rows: Rows | None = None
        self._total: int | None = None
        self._ids: frozenset[str] | None = None  # of all samples, if setup has read them

    def setup(self, stage: str) -> None:
        """Opens the data set.  Errors: ValueError for what it does not have; OSError if it cannot be reached."""
        channels, size = self.picture_form(self.channels, self.size)
        arguments = (self.path, self.name, self.split, self.revision, self.data_files, self.data_dir)
        opened = self.retry.call(f"data set {self.path!r}", partial(open_split, *arguments))
        columns = self._columns(opened)
        self._pictures = self.retry.call(f"data set {self.path!r}", opened.pictures)
        self.report_left_out(opened.other_files(), f"data set {self.path!r}")
        self._refuse_output_inside(opened)
        if run := next(opened.runs(), None):
            raise ValueError(
                f"data set {self.path!r} contains the run {run}, whose pictures would become data; move the run away"
            )
        shards = opened.dataset.num_shards
        rows = Rows(
            dataset=keep_encoded(opened.dataset, columns),
            sources=opened.files if len(opened.files) == shards else [f"data set {self.path!r}"] * shards,
            columns=columns,
            decode=partial(read_picture, channels=channels, size=size, enlarge=self.enlarge, fit=self.fit),
            retry=self.retry,
            files=dict(zip(self._pictures, ids_of(list(self._pictures.values())), strict=True)),
            only=frozenset(map(str, self._subset)) if isinstance(self._subset, list) else None,
        )
        self._rows, self._total = self._chosen(rows, opened)
        self.place = opened.place(self.path)
        if columns.by_index:
            self.place = f"{self.place or self.path}, files {_digest(opened.files)}"
        super().setup(stage)
        self._ids = None
        if self._window() == slice(0, None):  # with skip or limit, every reader sees all ids
            readers = max(self.num_workers, 1) * (self.trainer.world_size if self.trainer else 1)
            self._ids = refuse_repeated_ids(self._rows, opened.builder, remote=1 < readers <= shards)

    def check_recorded(self, recorded: AbstractSet[str]) -> None:
        recorded = recorded - self.wanted_ids  # some of these may have been recorded as missing
        where = f"data set {self.path!r}"
        refuse_renamed(list(self._pictures.values()), recorded, where)
        rows = self.samples()
        if rows.files and rows.columns.id is None and not rows.columns.by_index:
            refuse_missing(rows.files.values(), recorded, where)
        if self._ids is not None:
            refuse_missing(self._ids, recorded, where)
        if rows.columns.by_index and any(("-" in id_) != (rows.num_shards > 1) for id_ in recorded):
            raise ValueError(
                f"the run has records of {'one file' if rows.num_shards > 1 else 'several files'} by index, but "
                f"{where} now has {rows.num_shards}, which changes the ids; give the same files or another --output"
            )

    @property
    def _subset(self) -> int | list[str] | None:
        return self.subset if self.only_ids is None else list(self.only_ids)

    def samples(self) -> Rows:
        if self._rows is None:
            raise RuntimeError("samples() was called before setup(), which opens the data set; call setup() first")
        return self._rows

    def total(self) -> int | None:
        return self._total

    def chosen(self) -> Rows:
        return self.samples()

    def _refuse_output_inside(self, opened: Opened) -> None:
        """Errors: ValueError if the output lies in an image folder that is listed with its subfolders: on resuming, the
        run's own pictures would become data."""
        output = str(getattr(self.trainer, "default_root_dir", None) or "")
        everything = self.data_files is None or "**" in str(self.data_files)
        if opened.builder != "imagefolder" or not everything or not output or opened.is_remote or "://" in output:
            return
        written, root = Path(output).expanduser().resolve(), Path(opened.root).resolve()
        if written.is_relative_to(root):
            raise ValueError(
                f"the run is written to {written}, inside the data set {self.path!r} ({root}), so its pictures would "
                "become data when it resumes; give an --output elsewhere"
            )

    def _columns(self, opened: Opened) -> Columns:
        """The columns to read.  Errors: ValueError for a column that is missing or of the wrong type."""
        features: Mapping[str, Any] = opened.dataset.features or {}
        image = self.image_column
        if image is None:
            pictures = [name for name, feature in features.items() if _is_image(feature)]
            if len(pictures) != 1:
                raise ValueError(
                    f"data set {self.path!r} has {len(pictures)} columns of pictures among {', '.join(features)}; give "
                    "the one to read as image_column"
                )
            image = pictures[0]
        by_index = self.id_column is None and self.id_from == "index"
        columns = Columns(image, self.caption_column, self.label_column, self.id_column, by_index)
        for name in columns.all:
            if features and name not in features:
                raise ValueError(f"data set {self.path!r} has no column {name!r}; it has {', '.join(features)}")
        expected = (
            ("image_column", columns.image, _is_picture, "one encoded picture"),
            ("caption_column", columns.caption, _is_caption, "a text, or a list of texts"),
            ("label_column", columns.label, _is_integer, "an integer"),
            ("id_column", columns.id, _is_name, "a text or an integer"),
        )
        for option, column, fits, wanted in expected:
            if column is not None and column in features and not fits(features[column]):
                raise ValueError(
                    f"column {column!r} of data set {self.path!r} holds {features[column]}, but {option} needs "
                    f"{wanted} in each row; give another column"
                )
        pinned = self.revision is not None and re.fullmatch("[0-9a-f]{40}", self.revision) is not None
        if by_index and opened.revision is not None and not pinned:
            raise ValueError(
                f"ids by index need a pinned revision, because they would name other pictures once {self.path!r} "
                f"changes on the hub; add revision: {opened.revision}"
            )
        return columns

    def _chosen(self, rows: Rows, opened: Opened) -> tuple[Rows, int | None]:
        """The rows of the random subset, if one is wanted, and the number of rows, if known."""
        subset = self._subset
        if isinstance(subset, list):
            return rows, None
        local = opened.builder == "parquet" and not any("://" in file for file in opened.files)
        if subset is None and not local:
            return rows, opened.num_examples
        sizes = self._sizes(rows, opened.builder)
        if subset is None:
            return rows, sum(sizes)
        chosen = {shard: frozenset(numbers) for shard, numbers in choice(subset, sizes, self.subset_seed).items()}
        return replace(rows, chosen=chosen), subset

    def _sizes(self, rows: Rows, builder: str) -> list[int]:
        """Number of rows in each shard; in any format but parquet, the shard is read to count them."""
        if builder == "parquet":
            return [self.retry.call(file, partial(parquet_rows, file)) for file in rows.sources]
        return [sum(1 for _ in rows.rows(index)) for index in range(rows.num_shards)]


def _digest(files: Sequence[str]) -> str:
    """A digest of what ids by index depend on: the list of files, in order, and the sizes of local ones."""
    listed = [[file, None if "://" in file else os.path.getsize(file)] for file in files]
    return hashlib.blake2b(json.dumps(listed).encode(), digest_size=4).hexdigest()


def _is_picture(feature: Any) -> bool:
    """Whether a column holds pictures or their encoded bytes."""
    return _is_image(feature) or _kind(feature) in ("binary", "large_binary")


def _is_image(feature: Any) -> bool:
    """Whether a column holds pictures with their names."""
    import datasets

    return isinstance(feature, datasets.Image) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def _is_caption(feature: Any) -> bool:
    import datasets

    inner = feature.feature if isinstance(feature, datasets.List) else feature
    return _kind(inner) not in ("", "binary", "large_binary")


def _is_integer(feature: Any) -> bool:
    return _kind(feature).startswith(("int", "uint"))


def _is_name(feature: Any) -> bool:
    return _is_integer(feature) or _kind(feature) in ("string", "large_string")


def _kind(feature: Any) -> str:
    """The type of a column of single values; "" for any other column."""
    return str(getattr(feature, "dtype", "")) if type(feature).__name__ in ("Value", "ClassLabel") else ""
