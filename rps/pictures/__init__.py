"""Picture files: read in any common format as tensors in [-1, 1], and named by sample ids."""

from rps.pictures.by_id import PictureFiles
from rps.pictures.ids import ids_of
from rps.pictures.reading import SUFFIXES, read_picture

__all__ = ["SUFFIXES", "PictureFiles", "ids_of", "read_picture"]
