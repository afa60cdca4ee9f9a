"""Detects repeated ids before any sample is computed, from columns and headers, without reading the pictures."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from datamodules.rows import Columns, Rows


def refuse_repeated_ids(rows: Rows, builder: str, remote: bool) -> frozenset[str] | None:
    """Reads the ids of all wanted rows if the format of the files makes this cheap.

    remote: whether to read parquet files over the network, too. -> the ids, or None if they are not those of all rows.
    Errors: ValueError for an id that two samples share, and for a truncated archive.
    """
    if builder not in READERS or (rows.columns.by_index and builder != "webdataset"):
        return None
    first: dict[str, int] = {}
    every = not rows.columns.by_index and rows.only is None and rows.chosen is None
    for shard, source in enumerate(rows.sources):
        if "://" in source and not (remote and builder == "parquet"):
            every = False
            continue
        values = rows.retry.call(source, partial(READERS[builder], source, rows.columns))
        every = every and values is not None
        for number, value in enumerate(values or ()):
            name = rows.name(shard, number, value) if rows.is_wanted(shard, number) else None
            if name is None or (rows.only is not None and name not in rows.only):
                continue
            if name in first:
                places = " and ".join(dict.fromkeys([rows.sources[first[name]], source]))
                raise ValueError(
                    f"two samples in {places} have the id {name!r}, but outputs are named by id, so ids must be "
                    "unique; give a column of unique ids as id_column, or use id_from: index"
                )
            first[name] = shard
    return frozenset(first) if every else None


def _parquet(source: str, columns: Columns) -> list[Any]:
    import fsspec
    import pyarrow.parquet

    with fsspec.open(source, "rb") as file:
        wanted = columns.id or f"{columns.image}.path"
        batches = pyarrow.parquet.ParquetFile(file).iter_batches(columns=[wanted])
        return [name for batch in batches for name in _names(batch, columns)]


def _arrow(source: str, columns: Columns) -> list[Any]:
    """The names in an arrow file, which is memory-mapped so that only their column is read."""
    import pyarrow as pa

    with pa.memory_map(source) as file:
        try:
            batches: Any = pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(file)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        return [name for batch in batches for name in _names(batch, columns)]


def _names(batch: Any, columns: Columns) -> list[Any]:
    import pyarrow.compute
    import pyarrow.types

    if columns.id is not None:
        names: list[Any] = batch.column(columns.id).to_pylist()
        return names
    if columns.image not in batch.schema.names or not pyarrow.types.is_struct(batch.column(columns.image).type):
        return []  # encoded pictures have no names
    return list(pyarrow.compute.struct_field(batch.column(columns.image), "path").to_pylist())


def _tar(source: str, columns: Columns) -> list[Any] | None:
    """The names in a .tar, grouped as datasets does: "a/b.png" is column "png" of sample "a/b"."""
    names = tar_members(source) if source.endswith(".tar") else None
    if names is None or columns.id not in (None, "__key__"):
        return None
    shown = (name for name in names if not PurePosixPath(name).name.startswith((".", "__")))
    parts = (match.groups() for name in shown if (match := re.match(r"((?:.*/|)[^.]+)[.]([^/]*)$", name)))
    found: list[Any] = []
    for key, members in groupby(parts, lambda part: part[0]):
        fields = {field for _, field in members}
        if columns.id is not None:
            found.append(key)
        else:
            found.append(f"{key}.{columns.image}" if columns.image in fields else None)
    return found


def tar_members(source: str) -> list[str] | None:
    """Names of the files in a .tar, from their headers; None if it is compressed.

    Errors: ValueError for a truncated archive, which datasets would read without an error.
    """
    with open(source, "rb") as file:
        if file.read(6).startswith(COMPRESSED):
            return None
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                names = [member.name for member in archive if member.isreg()]
                file.seek(archive.offset)
        except tarfile.ReadError as error:
            raise ValueError(_truncated(source, str(error))) from None  # chained, Retry would take it for a fault
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile stopped here; an intact archive ends or has a block of zeros
            raise ValueError(_truncated(source, "a header is missing"))
    return names


def _truncated(source: str, reason: str) -> str:
    return f"archive {source} is truncated or damaged ({reason}); copy it again"


COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
"""First bytes of the files that datasets decompresses, whatever their extension."""

READERS: dict[str, Callable[[str, Columns], list[Any] | None]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "webdataset": _tar,
}
"""Builder -> the value that names each row of a file; None if only the rows' contents would reveal it."""
