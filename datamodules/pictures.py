"""rps.pictures under the name that datamodules written for earlier versions import."""

from rps.pictures.reading import SUFFIXES, read_picture

__all__ = ["SUFFIXES", "read_picture"]
