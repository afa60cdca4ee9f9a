"""Ids that two samples share, found before any sample is computed: from columns and headers, without the pictures."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from datamodules.rows import Columns, Rows


def refuse_repeated_ids(rows: Rows, builder: str, remote: bool) -> None:
    """Reads the ids of all wanted rows where the form of the files allows this cheaply.

    remote: whether parquet files are read over the network for it, too. Errors: ValueError for an id that two have.
    """
    if rows.columns.by_index or builder not in READERS:
        return
    first: dict[str, int] = {}
    for shard, source in enumerate(rows.sources):
        if "://" in source and not (remote and builder == "parquet"):
            continue
        values = rows.retry.call(source, partial(_stored, builder, source, rows.columns))
        for number, value in enumerate(values):
            name = rows.name(shard, number, value) if rows.is_wanted(shard, number) else None
            if name is None or (rows.only is not None and name not in rows.only):
                continue
            if name in first:
                places = " and ".join(dict.fromkeys([rows.sources[first[name]], source]))
                raise ValueError(
                    f"two samples have the id {name!r}, by which outputs are named, in {places}; give a column of "
                    "unique ids as id_column, or take id_from: index"
                )
            first[name] = shard


def _stored(builder: str, source: str, columns: Columns) -> list[Any]:
    """What every row of a file is named by."""
    return list(READERS[builder](source, columns))


def _parquet(source: str, columns: Columns) -> Iterator[Any]:
    import fsspec
    import pyarrow.parquet

    with fsspec.open(source, "rb") as file:
        wanted = columns.id or f"{columns.image}.path"
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(columns=[wanted]):
            yield from _names(batch, columns)


def _arrow(source: str, columns: Columns) -> Iterator[Any]:
    """From a map of the file into memory, of which only these columns are read."""
    import pyarrow as pa

    with pa.memory_map(source) as file:
        try:
            batches: Any = pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(file)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        for batch in batches:
            yield from _names(batch, columns)


def _names(batch: Any, columns: Columns) -> list[Any]:
    import pyarrow.compute
    import pyarrow.types

    if columns.id is not None:
        names: list[Any] = batch.column(columns.id).to_pylist()
        return names
    if columns.image not in batch.schema.names or not pyarrow.types.is_struct(batch.column(columns.image).type):
        return []  # encoded pictures without names
    return list(pyarrow.compute.struct_field(batch.column(columns.image), "path").to_pylist())


def _tar(source: str, columns: Columns) -> Iterator[Any]:
    """As datasets groups the members of an archive: "a/b.png" is column "png" of sample "a/b"."""
    if columns.id not in (None, "__key__") or not source.endswith(".tar"):  # contents; compressed archives
        return
    with tarfile.open(source, "r:") as archive:
        names = (member.name for member in archive if member.isreg())
        shown = (name for name in names if not PurePosixPath(name).name.startswith((".", "__")))
        parts = (match.groups() for name in shown if (match := re.match(r"((?:.*/|)[^.]+)[.]([^/]*)$", name)))
        for key, members in groupby(parts, lambda part: part[0]):
            fields = {field for _, field in members}
            if columns.id is not None:
                yield key
            else:
                yield f"{key}.{columns.image}" if columns.image in fields else None


READERS = {"parquet": _parquet, "arrow": _arrow, "webdataset": _tar}
