"""Read Fashion-MNIST from its idx files (Debian: apt install dataset-fashion-mnist), padded to 32x32 with black.

    python tools/fashion_mnist.py

writes the embedded test images, the first 1,000 of the test set, as one parquet file. Its schema has the feature types
of Hugging Face datasets, so that `load_dataset("parquet", data_files=FILE)` decodes the image column to PIL.
"""

from __future__ import annotations

import argparse
import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow

OUTPUT = Path(__file__).resolve().parent.parent / "rps/assets/embedded/fashion_mnist_test_1000.parquet"
DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SIZE = 32


def read_idx(path: Path) -> np.ndarray:
    """One gzipped idx file: 2 zero bytes, type code, number of dimensions, big-endian sizes, data -> uint8 array.
    Source: the format section of http://yann.lecun.com/exdb/mnist/, which Fashion-MNIST follows."""
    if not path.is_file():
        raise FileNotFoundError(f"no idx file at {path}: install Debian's dataset-fashion-mnist or pass --data FOLDER")
    raw = gzip.decompress(path.read_bytes())
    if raw[:2] != b"\0\0" or raw[2] != 8:
        raise ValueError(
            f"{path} is not an idx file of unsigned bytes: it starts with {raw[:4].hex()}, expected 000008xx"
        )
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def load(split: str, folder: Path = DEFAULT_FOLDER) -> tuple[np.ndarray, np.ndarray]:
    """split: "train" (60,000) or "test" (10,000) -> images uint8 [N,32,32] in 0..255, labels int64 [N] in 0..9."""
    prefix = {"train": "train", "test": "t10k"}[split]
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    margin = (SIZE - images.shape[-1]) // 2
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin))), labels.astype(np.int64)


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
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    a = parser.parse_args(arguments)

    import pyarrow.parquet

    images, labels = load("test", a.data)
    a.output.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(build_table(images[: a.count], labels[: a.count]), a.output, row_group_size=100)
    print(f"{a.count} images, {a.output.stat().st_size} bytes: {a.output}")


if __name__ == "__main__":
    main()
