"""Opens data sets with Hugging Face datasets, as streams, without running any of their code."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

from datamodules.repeats import tar_members
from rps.pictures.reading import SUFFIXES
from rps.records.directory import is_run

BUILDERS = ("parquet", "arrow", "webdataset", "imagefolder")
"""Builders of `datasets` that are allowed; some of the others unpickle what they read."""

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files of an image folder from which `datasets` reads captions and other columns."""

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Opened:
    """A split of a data set.

    dataset: a datasets.IterableDataset. builder: one of BUILDERS. files: addresses of its files, as datasets lists
    them. root: folder to which the names in an image folder are relative. revision: commit on the hub, else None.
    num_examples: as stated by the data set itself.
    """

    dataset: Any
    builder: str
    files: list[str]
    root: str
    revision: str | None
    num_examples: int | None

    @property
    def is_remote(self) -> bool:
        return any("://" in file for file in self.files)

    def place(self, path: str) -> str | None:
        """Location of the data: a local folder, or the commit of a data set on the hub; None for web addresses."""
        if self.revision is not None:
            return f"{path} at commit {self.revision}"
        return None if self.is_remote else self.root or None

    def pictures(self) -> dict[str, PurePosixPath]:
        """Address -> path relative to the root, for the pictures of an image folder and of its ZIP archives; empty for
        other builders.

        Errors: OSError if an archive cannot be reached.
        """
        found: dict[str, PurePosixPath] = {}
        for file in self.files if self.builder == "imagefolder" else ():
            path = PurePosixPath(os.path.relpath(file, self.root))
            if file.lower().endswith(SUFFIXES):
                found[file] = path
            elif file.lower().endswith(".zip"):
                members = (member for member in _members(file) if member.lower().endswith(SUFFIXES))
                found |= {f"zip://{member}::{file}": path.with_suffix("") / member for member in members}
        return found

    def runs(self) -> Iterator[Path]:
        """Folders inside a local image folder that are runs of rps."""
        local = [file for file in self.files if self.builder == "imagefolder" and "://" not in file]
        folders = dict.fromkeys(folder for file in local for folder in Path(file).parents)
        return (folder for folder in folders if folder.is_relative_to(self.root) and is_run(folder))

    def other_files(self) -> list[PurePosixPath]:
        """Files of an image folder that are neither pictures nor metadata."""
        if self.builder != "imagefolder":
            return []
        paths = map(PurePosixPath, self.files)
        return [p for p in paths if not p.name.lower().endswith((*SUFFIXES, ".zip")) and p.name not in METADATA]


def _members(archive: str) -> list[str]:
    """Names of the files in a ZIP archive."""
    import fsspec

    with fsspec.open(archive, "rb") as file:
        return list(dict.fromkeys(ZipFile(file).namelist()))


def open_split(
    path: str,
    name: str | None = None,
    split: str = "train",
    revision: str | None = None,
    data_files: DataFiles | None = None,
    data_dir: str | None = None,
) -> Opened:
    """Opens a data set on the hub, in a local folder, or in files that one of BUILDERS reads, without downloading it.

    Errors: ValueError for a data set that needs its own code, another builder, a broken ZIP archive, a truncated local
    tar archive, or a file name that is not UTF-8.
    """
    import datasets

    try:
        builder = datasets.load_dataset_builder(path, name, data_dir, data_files, revision=revision)
    except FileNotFoundError as error:
        _tell_missing_from_failing(data_files, error)
        raise
    except RuntimeError as error:
        if "scripts" not in str(error):
            raise
        raise ValueError(
            f"data set {path!r} needs its own script to be read, and such code is never run; use a copy in one of "
            f"these formats: {', '.join(BUILDERS)}"
        ) from error
    if builder.name not in BUILDERS:
        raise ValueError(
            f"data set {path!r} is read by the builder {builder.name!r}, which is not supported; use a copy in one of "
            f"these formats: {', '.join(BUILDERS)}"
        )
    listed = builder.config.data_files or {}
    if split not in listed:
        raise ValueError(f"data set {path!r} has no split {split!r}; it has {', '.join(map(repr, listed))}")
    files = [str(file) for file in listed[split]]
    info = (builder.info.splits or {}).get(split)
    try:
        dataset = builder.as_streaming_dataset(split)
    except BadZipFile as error:
        raise ValueError(f"data set {path!r} has a ZIP archive that cannot be read ({error}); replace it") from error
    except tarfile.ReadError:
        for file in files:
            if "://" not in file and file.endswith(".tar"):
                tar_members(file)
        raise
    except UnicodeEncodeError as error:
        raise ValueError(
            f"data set {path!r} contains the name {error.object!r}, which is not UTF-8; rename that file in its archive"
        ) from error
    found = re.match("hf://datasets/[^@]+@([0-9a-f]{40})/", files[0]) if files else None
    return Opened(
        dataset=dataset,
        builder=builder.name,
        files=files,
        root=_root(files, data_dir or (path if os.path.isdir(path) else None)),
        revision=found.group(1) if found else None,
        num_examples=None if info is None else info.num_examples,
    )


def parquet_rows(file: str) -> int:
    """The number of rows of a parquet file, from its footer."""
    import fsspec
    import pyarrow.parquet

    with fsspec.open(file, "rb") as opened:
        return int(pyarrow.parquet.read_metadata(opened).num_rows)


def _tell_missing_from_failing(data_files: DataFiles | None, error: FileNotFoundError) -> None:
    """Raises the real error of a server that did not answer properly, which datasets reports as a missing file."""
    import fsspec

    remote = [file for file in _addresses(data_files) if file.startswith(("http://", "https://"))]
    for file in remote:
        fsspec.filesystem("http").info(file)
    if remote:
        raise ConnectionError(f"{error}, although the server has it") from error


def _addresses(data_files: DataFiles | None) -> list[str]:
    if data_files is None or isinstance(data_files, str):
        return [] if data_files is None else [data_files]
    parts = data_files.values() if isinstance(data_files, Mapping) else data_files
    return [file for part in parts for file in _addresses(part)]


def _root(files: Sequence[str], folder: str | None) -> str:
    if folder is not None and "://" not in folder:
        return os.path.abspath(folder)
    return os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
