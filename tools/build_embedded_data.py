"""Write the embedded test images: the first 1,000 of the Fashion-MNIST test set, padded to 32x32, as one parquet file.

    python tools/build_embedded_data.py

The schema carries the feature types of Hugging Face datasets, so that `load_dataset("parquet", data_files=FILE)`
decodes the image column to PIL.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

import fashion_mnist
import numpy as np

if TYPE_CHECKING:
    import pyarrow

OUTPUT = Path(__file__).resolve().parent.parent / "rps/assets/embedded/fashion_mnist_test_1000.parquet"


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 [32,32] -> an 8-bit greyscale PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def build_table(images: np.ndarray, labels: np.ndarray) -> pyarrow.Table:
    """images: uint8 [N,32,32], labels: [N] -> columns id ("fashion-00000"), image (PNG bytes), label (int64)."""
    import pyarrow
    from datasets import Features, Image, Value

    features = Features({"id": Value("string"), "image": Image(), "label": Value("int64")})
    names = [f"fashion-{i:05d}" for i in range(len(images))]
    rows = [{"bytes": png_bytes(image), "path": f"{name}.png"} for image, name in zip(images, names, strict=True)]
    return pyarrow.table({"id": names, "image": rows, "label": labels}, schema=features.arrow_schema)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    a = parser.parse_args(arguments)

    import pyarrow.parquet

    images, labels = fashion_mnist.load("test", a.data)
    a.output.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(build_table(images[: a.count], labels[: a.count]), a.output, row_group_size=100)
    print(f"{a.count} images, {a.output.stat().st_size} bytes: {a.output}")


if __name__ == "__main__":
    main()
