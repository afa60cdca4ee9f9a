"""The figures of two runs against the exact posterior, paired over the measurements."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rps.metrics.base import ORACLE, MetricInfo
from rps.metrics.intervals import estimate
from rps.oracle.measures import figure_draws
from rps.records.rows import Row
from rps.report.paired import Paired, paired_figure

LOWER = ("gap dB", "mean", "covariance", "sliced W2")
"""Figures of which less is better; the others have a value that an exact sampler has, see `figures`."""


def numbers_of(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Number -> [N], from the rows of OracleRecorder, which all have the numbers or none has."""
    names = [name for name in (rows[0].metrics if rows else ()) if name.startswith(ORACLE)]
    return {
        name.removeprefix(ORACLE): torch.tensor([row.metrics[name] for row in rows], dtype=torch.float64)
        for name in names
    }


def paired_figures(here: Sequence[Row], there: Sequence[Row]) -> list[tuple[MetricInfo, Paired]]:
    """The differences of all figures that both have; empty if the runs have different numbers of outputs.

    here, there: rows of the same samples in the same order.
    """
    a, b = numbers_of(here), numbers_of(there)
    if not a or not b or not torch.allclose(a["mean_zero"], b["mean_zero"], rtol=1e-3):
        return []
    draws, found = (figure_draws(a), figure_draws(b)), []
    for name in (name for name in draws[0] if name in draws[1]):
        (x, zero), (y, _) = (of[name] for of in draws)
        info = MetricInfo(f"oracle {name}", f"oracle: {name}", better="lower" if name in LOWER else None)
        paired = paired_figure(float(x[0]), float(y[0]), estimate(float(x[0] - y[0]), (x - y)[1:], len(here)))
        found.append((info, {**paired, "n": len(here), "exact": float(zero[0])}))
    return found
