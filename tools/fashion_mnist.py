"""Fashion-MNIST from its idx files (Debian: apt install dataset-fashion-mnist), padded to 32x32 with black."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

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
