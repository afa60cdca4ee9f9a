"""Embedded: the images that ship with the package."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import rps
from datamodules.base import SampleDataModule
from datamodules.hub import open_split, parquet_rows
from datamodules.retry import Retry
from datamodules.rows import Columns, Rows, keep_encoded
from rps.pictures.reading import read_picture

PARQUET = Path(rps.__file__).parent / "assets" / "embedded" / "fashion_mnist_test_1000.parquet"


class Embedded(SampleDataModule):
    """Fashion-MNIST test images 0..999, padded to 1 x 32 x 32, and their classes 0 .. 9 (MIT licence, Zalando SE); read
    by Hugging Face datasets.

    Args:
        limit: largest number of images; null is all 1,000.
        kwargs: other arguments of SampleDataModule.
    """

    def __init__(self, limit: int | None = 64, **kwargs: Any) -> None:
        super().__init__(limit=limit, **kwargs)

    def samples(self) -> Rows:
        columns, opened = Columns("image", label="label", id="id"), open_split("parquet", data_files=str(PARQUET))
        dataset = keep_encoded(opened.dataset, columns)
        return Rows(dataset, opened.files, columns, partial(read_picture, channels=1), Retry(attempts=1))

    def total(self) -> int:
        return parquet_rows(str(PARQUET))
