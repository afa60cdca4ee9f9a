"""Limits the number of images in one network call."""

from __future__ import annotations

from collections.abc import Iterator


def chunks(rows: int, size: int | None) -> Iterator[slice]:
    """Slices that cover 0 .. rows in order, each of at most `size` rows (None is one slice)."""
    if size is not None and size < 1:
        raise ValueError(f"micro_batch must be at least 1, got {size}")
    step = size or max(rows, 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
