"""The packaged parquet, and any other of its form."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datamodules import embedded
from datamodules.embedded import Embedded


@pytest.fixture
def parquet(tmp_path):
    """Three pictures of known grey, the second one damaged."""

    def encode(grey):
        buffer = io.BytesIO()
        Image.new("L", (4, 4), grey).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    images = [encode(0), {"bytes": b"not a picture", "path": None}, encode(255)]
    path = tmp_path / "three.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "image": images, "label": [0, 1, 2]}), path)
    return path


def test_grey_values_and_a_damaged_row(parquet, monkeypatch):
    monkeypatch.setattr(embedded, "PARQUET", parquet)
    rows = {name: read for name, read, _ in Embedded().samples()}
    assert torch.equal(rows["a"](), torch.full((1, 4, 4), -1.0))
    assert torch.equal(rows["c"](), torch.full((1, 4, 4), 1.0))
    with pytest.raises(ValueError, match="cannot be read: not a picture"):
        rows["b"]()


@pytest.mark.parametrize("workers", [0, 2])
def test_all_rows_once_with_workers(parquet, monkeypatch, workers):
    """datasets would give each worker its own choice of rows."""
    monkeypatch.setattr(embedded, "PARQUET", parquet)
    batches = list(Embedded(limit=None, batch_size=1, num_workers=workers).predict_dataloader())
    assert sorted(name for b in batches for name in b["id"]) == ["a", "c"]
    assert [name for b in batches for name, _ in b["failed"]] == ["b"]


@pytest.mark.skipif(not embedded.PARQUET.is_file(), reason="the packaged images are not there yet")
def test_the_packaged_images():
    data = Embedded(limit=None)
    batches = list(data.predict_dataloader())
    ids = [name for b in batches for name in b["id"]]
    images = torch.cat([b["image"] for b in batches])
    assert len(set(ids)) == len(ids) == data.num_samples == 1000
    assert images.shape == (1000, 1, 32, 32) and images.dtype == torch.float32
    assert images.min() == -1 and images.max() == 1
    assert (images[:, :, :2] == -1).all(), "padded from 28 x 28 with black"
    assert not any(b["failed"] for b in batches)
    first = next(iter(Embedded(limit=4, skip=2).predict_dataloader()))
    assert first["id"] == ids[2:6] and torch.equal(first["image"], images[2:6])
    labels = [label for b in batches for label in b["label"]]
    assert first["label"] == labels[2:6] == [1, 1, 6, 1]  # trousers and a shirt
    assert set(labels) == set(range(10))
