"""Runs without a network whose curve is known: an error that rises with the level, features that come closer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rps.metrics import MetricInfo
from rps.metrics.standard import standard
from rps.records import RecordWriter, Row, Vectors
from rps.records.rows import Origin

DIM = 4
INFOS = {metric.name: metric.info for metric in standard()}


def error(level: float) -> float:
    """Mean RMSE at a level."""
    return 0.1 + 0.05 * level / (level + 200)


def shift(level: float) -> float:
    """How far the features are off, in each dimension."""
    return 0.8 * 200 / (level + 200)


class Population:
    """n images: RMSE a_i + (1 + b_i) (error - .1), features x_i + shift + noise of the level; shared over levels."""

    def __init__(self, n: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.ids = [f"s{seed}-{i:04d}" for i in range(n)]
        self.a = 0.1 + 0.02 * torch.randn(n, generator=self.generator)
        self.b = 0.5 * torch.randn(n, generator=self.generator)
        self.clean, self.noise = torch.randn(2, n, DIM, generator=self.generator)

    def rmse(self, level: float) -> Tensor:
        return self.a + (1 + self.b) * (error(level) - 0.1)

    def features(self, level: float) -> Tensor:
        return self.clean + shift(level) + 0.2 * self.noise


def write_run(
    run: Path,
    rmse: dict[float, Tensor],
    features: dict[float, Tensor] | None = None,
    clean: Tensor | None = None,
    knob: str = "t0",
    reference: str | None = None,
    baseline: Tensor | None = None,
    more: dict[str, dict[float, Tensor]] | None = None,
) -> Path:
    """Records of these RMSE [n] and features [n, D] at each level.  baseline: RMSE of A^+ y. more: other metrics."""
    n = len(next(iter(rmse.values())))  # the ids of all runs are the same
    ids = [f"s{i:04d}" for i in range(n)]
    of_level = {level: {"rmse": rmse[level], **{k: v[level] for k, v in (more or {}).items()}} for level in rmse}
    rows = [
        Row(id_, level, metrics={name: value[i].item() for name, value in values.items()})
        for level, values in of_level.items()
        for i, id_ in enumerate(ids)
    ]
    if baseline is not None:
        rows += [
            Row(id_, None, "pseudo_inverse", metrics={"rmse": e}) for id_, e in zip(ids, baseline.tolist(), strict=True)
        ]
    vectors = [Vectors(ids, level, "restored", x) for level, x in (features or {}).items()]
    vectors += [] if clean is None else [Vectors(ids, None, "reference", clean)]
    infos: dict[str, MetricInfo] = {name: INFOS[name] for name in ("rmse", *(more or {}))}
    RecordWriter(run).write(rows, knob, vectors, "four numbers", Origin({}, reference, infos))
    return run


def write_population(run: Path, images: Population, levels: tuple[float, ...], knob: str = "t0") -> Path:
    at = {level: images.rmse(level) for level in levels}
    return write_run(run, at, {level: images.features(level) for level in levels}, images.clean, knob)
