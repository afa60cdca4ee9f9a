"""PictureFiles: the file of a sample, by its id."""

from __future__ import annotations

import os
from pathlib import Path

from rps.pictures.ids import ids_of
from rps.pictures.reading import SUFFIXES


class PictureFiles:
    """One picture for all samples, or a folder with a picture for each id.

    The picture of a sample has the path that its own picture has in the folder of the data, up to the extension:
    masks/sub/a.png belongs to photos/sub/a.jpg, whose id is "sub__a". Only files of the folder are ever found.

    path: the picture or the folder. what: what the pictures are, for errors. Errors: ValueError if there is neither.
    """

    def __init__(self, path: str, what: str) -> None:
        place = Path(path).expanduser()
        if not place.exists():
            raise ValueError(f"{what} {path!r} does not exist; give a picture, or a folder with a picture for each id")
        self.path, self.what, self.one = path, what, None if place.is_dir() else place
        found = [Path(here, name).relative_to(place) for here, _, names in os.walk(place) for name in names]
        paths = sorted(each for each in found if each.suffix.lower() in SUFFIXES and not each.name.startswith("."))
        self.by_id = dict(zip(ids_of(paths), (place / each for each in paths), strict=True))

    def of(self, id_: str) -> Path:
        """The file of a sample.  Errors: FileNotFoundError if the folder has none."""
        if self.one is not None:
            return self.one
        if id_ not in self.by_id:
            raise FileNotFoundError(
                f"{self.what} {self.path!r} has no picture for the id {id_!r}; add {id_}.png, or give one for all"
            )
        return self.by_id[id_]
