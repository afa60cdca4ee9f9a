"""The images that ship with the package."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torch import Tensor

import rps
from datamodules.base import Sample, SampleDataModule
from datamodules.pictures import read_picture

PARQUET = Path(rps.__file__).parent / "assets" / "embedded" / "fashion_mnist_test_1000.parquet"


class Embedded(SampleDataModule):
    """Fashion-MNIST test images 0..999, padded to 1 x 32 x 32 (MIT licence, Zalando SE), read by Hugging Face datasets.

    Args:
        limit: the first so many images; null is all 1,000.
        batch_size: images of one batch.
        num_workers: processes that read ahead; 0 reads in the main one.
        skip: leave out so many images first.
    """

    def __init__(self, limit: int | None = 64, batch_size: int = 64, num_workers: int = 0, skip: int = 0) -> None:
        super().__init__(batch_size, num_workers, limit, skip)

    def samples(self) -> ParquetPictures:
        return ParquetPictures(PARQUET, channels=1)

    def total(self) -> int:
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(PARQUET).num_rows)


class ParquetPictures:
    """Samples of a parquet file with columns id and image, streamed.

    channels: 1 (grey) or 3 (RGB).
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path = path
        self.channels = channels

    def __iter__(self) -> Iterator[Sample]:
        import datasets

        rows = datasets.load_dataset("parquet", data_files=str(self.path), split="train", streaming=True)
        rows = rows.select_columns(["id", "image"]).cast_column("image", datasets.Image(decode=False))
        # .iter, because plain iteration inside a DataLoader worker would give this worker its own choice of rows.
        for block in rows.iter(batch_size=64):
            for name, image in zip(block["id"], block["image"], strict=True):
                yield str(name), partial(_decode, image, self.channels)


def _decode(image: dict[str, bytes | None], channels: int) -> Tensor:
    """[C, H, W] in [-1, 1] of an encoded image as datasets stores it."""
    if image["bytes"] is None:
        raise ValueError("cannot be read: the row holds no image")
    return read_picture(io.BytesIO(image["bytes"]), channels)
