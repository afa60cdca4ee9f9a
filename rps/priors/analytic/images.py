"""Reads the images from which analytic priors are built."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

PARQUET = Path(__file__).parents[2] / "assets" / "embedded" / "fashion_mnist_test_1000.parquet"


def read_images(source: str, skip: int = 0, limit: int | None = None) -> Tensor:
    """Images in [-1, 1].  -> float32 [n, C, H, W].

    source: "embedded" for the Fashion-MNIST test images of the package, or a .safetensors file with one tensor
    `images` [n, C, H, W]: uint8, or floating point in [-1, 1]. skip: number of images to skip at the start. limit:
    number of images to take after that.
    """
    if source == "embedded":
        images = _embedded(skip, limit)
    elif source.endswith(".safetensors") and Path(source).is_file():
        images = _file(source)[skip:][:limit]
    else:
        raise FileNotFoundError(f"images must be 'embedded' or an existing .safetensors file, got {source!r}")
    if not len(images):
        raise ValueError(f"skip={skip} and limit={limit} leave no images of {source!r}; choose smaller numbers")
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()


def _embedded(skip: int, limit: int | None) -> Tensor:
    import numpy as np
    import pyarrow.parquet
    from PIL import Image

    column = pyarrow.parquet.read_table(PARQUET, columns=["image"]).column("image").to_pylist()
    chosen = [np.array(Image.open(io.BytesIO(row["bytes"])).convert("L")) for row in column[skip:][:limit]]
    return torch.from_numpy(np.stack(chosen)).unsqueeze(1) if chosen else torch.empty(0, 1, 32, 32)


def _file(path: str) -> Tensor:
    from safetensors.torch import load_file

    tensors = load_file(path)
    if "images" not in tensors or tensors["images"].ndim != 4:
        found = ", ".join(f"{name} {tuple(v.shape)}" for name, v in tensors.items()) or "nothing"
        raise ValueError(f"{path} must contain one tensor `images` [n, C, H, W], found {found}")
    return tensors["images"]
