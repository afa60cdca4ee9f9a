"""ImageFolder: the user's own pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.base import Sample, SampleDataModule
from rps.pictures.ids import ids_of, refuse_missing, refuse_renamed
from rps.pictures.reading import SUFFIXES, Fit, picture_size, read_picture
from rps.records.directory import is_run


class ImageFolder(SampleDataModule):
    """The pictures of a folder and its subfolders, in the order of their names.

    Clean pictures (a benchmark) are centre-cropped and reduced to the prior's size, with antialiasing, and then
    degraded; for a prior that takes any size (rps.priors.TiledPrior) they keep theirs. Degraded pictures (a
    restoration) are measurements: only their channels are converted. Pictures of different sizes never share a batch.
    For the supported formats, see rps.pictures.read_picture.

    Hidden files and folders that hold a run of rps are ignored. Files without the extension of a picture, FIFOs and
    devices are ignored and counted. A link to a picture is read under the link's name, wherever it points; linked
    folders are not entered.

    Args:
        folder: folder of the pictures.
        size: height and width of clean pictures, in pixels; null is the prior's size, or each picture's own if the
            prior takes any.
        fit: how clean pictures get the size: null or "crop", cut to a square; "resize", whole, so that the longer side
            has it, and smaller pictures keep theirs; or "pad", likewise, with a mirrored border that makes it a square.
        channels: 1 (grey) or 3 (RGB); null is the prior's number.
        degraded: whether the pictures are measurements and not clean images.
        batch_size: number of pictures in one batch.
        kwargs: other arguments of SampleDataModule.
    """

    def __init__(
        self,
        folder: str,
        size: int | None = None,
        fit: Fit | None = None,
        channels: int | None = None,
        degraded: bool = False,
        batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, **kwargs)
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if size is not None and degraded:
            raise ValueError(f"size={size} was given, but degraded pictures are never resized; leave size out")
        if channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
        self.folder = folder
        self.size, self.fit = size, fit
        self.channels = channels
        self.degraded = degraded
        self.key = "measurement" if degraded else "image"
        self._paths: dict[str, Path] = {}
        self._samples: list[Sample] = []

    def setup(self, stage: str) -> None:
        """Lists the folder.  Errors: ValueError if there is no such folder, or no picture in it."""
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise ValueError(f"folder {self.folder!r} {what}; give a folder of pictures as --data.folder")
        if is_run(folder):
            raise ValueError(
                f"folder {self.folder!r} is a run of rps; to read its pictures, give one of its folders in images/"
            )
        paths, others = _pictures(folder)
        if not paths:
            raise ValueError(
                f"folder {self.folder!r} contains no image files ({', '.join(SUFFIXES)}); give a folder with pictures"
            )
        self.report_left_out(others, f"folder {self.folder!r}")
        channels, size = self.picture_form(self.channels, self.size, own_size=self.degraded)
        self._paths, self.place = dict(zip(ids_of(paths), paths, strict=True)), str(folder.resolve())
        self._samples = [
            (name, partial(read_picture, folder / path, channels, size, fit=self.fit))
            for name, path in self._paths.items()
        ]
        super().setup(stage)

    def check_recorded(self, recorded: AbstractSet[str]) -> None:
        where = f"folder {self.folder!r}"
        refuse_renamed(list(self._paths.values()), recorded, where)
        refuse_missing(self._paths, recorded, where)

    def measured_sizes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for id_ in (sample[0] for sample in self.taken() if self.degraded):
            wanted = id_ not in self.skip_ids and (self.only_ids is None or id_ in self.only_ids)
            if wanted and (size := picture_size(Path(self.folder).expanduser() / self._paths[id_])):
                yield id_, size

    def samples(self) -> list[Sample]:
        return self._samples

    def total(self) -> int:
        return len(self._samples)


def _pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Paths of the picture files and of the ignored files, relative to the folder, sorted by their parts.

    A broken link counts as a picture that cannot be read; a FIFO or a device, which may never end, is ignored.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_run(Path(here, name))]
        for path in (Path(here, name) for name in files if not name.startswith(".")):
            readable = path.is_file() or not path.exists()
            (pictures if readable and path.suffix.lower() in SUFFIXES else others).append(path.relative_to(folder))
    return sorted(pictures, key=lambda path: path.parts), others
