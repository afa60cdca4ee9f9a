"""What tests of data modules share."""

import datasets
import pytest

from tests.datamodules.hub_data import COUNTS, parquet


@pytest.fixture
def shards(tmp_path):
    files, start = [], 0
    for number, count in enumerate(COUNTS):
        files.append(tmp_path / f"part-{number}.parquet")
        files[-1].write_bytes(parquet(range(start, start + count)))
        start += count
    return [str(file) for file in files]


@pytest.fixture
def impatient(monkeypatch):
    """The waits of datasets between reads, 5 s by default, made short; and no proxy between us and ourselves."""
    monkeypatch.setattr(datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0.001)
    monkeypatch.setattr(datasets.config, "STREAMING_OPEN_RETRY_INTERVAL", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
