"""Small data sets in every form that HuggingFace reads, and what is read of them."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from datamodules import HuggingFace

COUNTS = (3, 1, 4, 2, 1, 3, 3)
"""Rows of each of seven files; their values are 0 to 16."""


def encoded(value: int, size: int = 4, noise: bool = False) -> bytes:
    """A picture of one grey; or of noise, which no compression makes small."""
    pixels = np.full((size, size), value, dtype=np.uint8)
    if noise:
        pixels = np.random.default_rng(value).integers(256, size=(size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP" if noise else "PNG")
    return buffer.getvalue()


def parquet(rows: range, damaged: tuple[int, ...] = (), **options) -> bytes:
    """Rows "r0", "r1", ... in groups of three, each a picture of that grey value."""
    images = [
        {"bytes": b"no picture" if i in damaged else encoded(i, **options), "path": f"pictures/{i}.png"} for i in rows
    ]
    table = pa.table(
        {
            "image": images,
            "name": [f"r{i}" for i in rows],
            "texts": [[f"caption {i}", "another"] for i in rows],
            "label": [i % 2 for i in rows],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=3)
    return buffer.getvalue()


def archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def data(path: str = "parquet", process: tuple[int, int] = (0, 1), **options) -> HuggingFace:
    """As one process of several sees it, set up."""
    module = HuggingFace(path, **{"size": 4, "channels": 1, "batch_size": 2, "backoff": 0.001, **options})
    module.trainer = SimpleNamespace(lightning_module=None, global_rank=process[0], world_size=process[1])
    module.setup("predict")
    return module


def read(module: HuggingFace) -> dict[str, torch.Tensor | str]:
    """id -> picture, or the reason why there is none; every id once."""
    batches = list(module.predict_dataloader())
    pairs = [(name, image) for b in batches for name, image in zip(b["id"], b["image"], strict=True)]
    pairs += [pair for b in batches for pair in b["failed"]]
    assert max(Counter(name for name, _ in pairs).values(), default=1) == 1
    return dict(pairs)


def greys(samples: dict) -> dict[str, int]:
    """id -> grey value."""
    return {name: round((image.mean().item() + 1) * 127.5) for name, image in samples.items()}


def pictures_of(folder, form: str, *shards: list[str]) -> list[str]:
    """Files of one grey picture per name.  -> their paths."""
    files = []
    for number, names in enumerate(shards):
        files.append(folder / f"{number}.{'tar' if form == 'webdataset' else form}")
        table = pa.table({"image": [{"bytes": encoded(len(files)), "path": name} for name in names]})
        if form == "parquet":
            pq.write_table(table, files[-1])
        elif form == "arrow":
            with pa.ipc.new_stream(files[-1], table.schema) as stream:
                stream.write_table(table)
        else:
            files[-1].write_bytes(archive({name: encoded(len(files)) for name in names}))
    return list(map(str, files))
