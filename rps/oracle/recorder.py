"""OracleRecorder: records and evaluates a run against the exact posterior of an analytic prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from rps.callbacks.metric_recorder import MetricRecorder
from rps.oracle.measures import Figure, exact_samples, figures, measures, outputs
from rps.oracle.paired import numbers_of
from rps.oracle.report import oracle_table
from rps.oracle.worlds import (
    Pixels,
    estimate_moments,
    expected_covariance,
    moments,
    optimal_images,
    pixel_statistics,
    uncertain,
)
from rps.priors.analytic.base import AnalyticPrior
from rps.randomness import Streams
from rps.records.evaluate import Evaluation, evaluate
from rps.records.files import level_name
from rps.records.reader import ORACLE as PREFIX
from rps.records.reader import Records
from rps.records.rows import Kind, Row
from rps.report.finish import finish
from rps.restoration import Level, Prediction

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
DEFINITIONS = {
    "oracle_*": "numbers of each measurement from `samples` runs of the traversal, see rps.oracle.measures.measures",
    "oracle": "summary of these numbers, see rps.oracle.measures.figures; zero: expected for a sampler with the exact "
    "law; se_off: standard error of value - zero",
    "exact": "posterior_mean, posterior_sample: E[x|y] and a draw from p(x|y); optimal: images on the optimal curve by "
    "weight, 0 is the posterior mean, 1 has the prior's mean and covariance along the features; see "
    "rps.oracle.worlds.optimal_images",
}


class OracleRecorder(MetricRecorder):
    """MetricRecorder for a linear operator and an AnalyticPrior (GaussianMixturePrior, LowRankMixturePrior or
    EmpiricalPrior): every level is evaluated against the exact posterior. Frechet distances are to the prior itself,
    over pixels or, with more than 16 pixels, along the 16 directions that y determines least.

    To do this, the traversal runs `samples` more times on every measurement, with other random numbers. The figures
    ("oracle" of every level), the exact points and the optimal curve ("exact", drawn in dp_curve.png) are written to
    RUN/metrics.json, and a second table to RUN/table.md.

    Args:
        output: run directory; None is the trainer's default_root_dir.
        samples: number M of outputs per measurement; 19 bounds the regions of 50 and 90 % exactly.
    """

    def __init__(self, output: str | None = None, samples: int = 19) -> None:
        super().__init__(output)
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        self.samples = samples

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        prior = getattr(pl_module, "prior", None)
        if not isinstance(prior, AnalyticPrior):
            raise ValueError(
                "OracleRecorder needs an AnalyticPrior (GaussianMixturePrior, LowRankMixturePrior or EmpiricalPrior), "
                f"got {type(prior).__name__}; use MetricRecorder"
            )
        module: Any = pl_module
        expected = expected_covariance(prior, module.operator, module.noise)
        basis = uncertain(prior, expected)
        self.features, self.statistics = Pixels(basis), pixel_statistics(prior, basis)
        self.curve = partial(optimal_images, moments(prior, basis), estimate_moments(prior, basis, expected), basis)

    def evaluate(self, module: Any, prediction: Prediction) -> Evaluation:
        if not prediction.ids:
            return super().evaluate(module, prediction)
        if prediction.reference is None:
            raise ValueError("OracleRecorder needs clean images drawn from the prior; use datamodules.Analytic")
        exact = _Exact(module, prediction, self.samples)
        found = evaluate(prediction, self.metrics, self.features, exact.images(self.curve), self.origin.relative_cost)
        numbers, place = exact.numbers(), {id_: i for i, id_ in enumerate(prediction.ids)}

        def add_measures(row: Row) -> Row:
            if row.kind != "restored" or row.level is None or row.status != "ok":
                return row
            own = {PREFIX + name: float(value[place[row.id]]) for name, value in numbers[row.level].items()}
            return replace(row, metrics={**row.metrics, **own})

        return Evaluation([add_measures(row) for row in found.rows], found.vectors)

    def merge(self, run: Path) -> dict[str, Any]:
        return finish(run, self.statistics, DEFINITIONS, _judged)


def _judged(records: Records, result: dict[str, Any]) -> list[str]:
    """Adds the figures of every level to the summary.  -> the second table, for the end of table.md."""
    lines: list[tuple[str, dict[str, Figure]]] = []
    for entry in result["levels"]:
        found = _figures(records, entry["level"])
        entry["oracle"] = {name: figure._asdict() for name, figure in found.items()}
        if found:
            lines.append((f"{records.knob} {level_name(entry['level'])}", found))
    return oracle_table(lines) if lines else []


class _Exact:
    """The exact posteriors of a batch, and the repeated outputs of the traversal."""

    def __init__(self, module: Any, prediction: Prediction, samples: int) -> None:
        self.module, self.prediction, self.samples = module, prediction, samples
        measurement = prediction.measurement
        self.posterior = module.prior.posterior(replace(measurement, y=measurement.y.double()))
        self.streams = measurement.streams.at("oracle")
        drawn = (exact_samples(self.posterior, self.streams.at(k), samples) for k in ("first", "second"))
        self.first, self.second = drawn

    def images(
        self, curve: Callable[[Tensor, Sequence[float], Streams], dict[float, Tensor]]
    ) -> dict[tuple[Kind, Level | None], Tensor]:
        """E[x | y], a draw from p(x | y), and the optimal curve."""
        mean = self.posterior.mean()
        flat: dict[tuple[Kind, Level | None], Tensor] = {
            ("posterior_mean", None): mean,
            ("posterior_sample", None): self.first[:, 0],
        }
        for weight, x in curve(mean, WEIGHTS, self.streams).items():
            flat["optimal", weight] = x
        y = self.prediction.measurement.y
        return {key: x.to(y).view(-1, *self.module.prior.image_shape) for key, x in flat.items()}

    def numbers(self) -> dict[Level, dict[str, Tensor]]:
        """Level -> number -> [N], see rps.oracle.measures.measures."""
        assert self.prediction.reference is not None
        truth = self.prediction.reference.flatten(1).double()
        traversal = self.module.traversal.only(self.prediction.restoration.levels)
        made = outputs(traversal, self.prediction.measurement, self.module.prior, self.samples)
        exact = (self.first, self.second)
        return {level: measures(x, truth, self.posterior, exact) for level, x in made.items()}


def _figures(records: Records, level: Level) -> dict[str, Figure]:
    """The figures of a level, whose rows all have the numbers or none has; empty in the latter case."""
    values = numbers_of([row for row in records.rows["restored", level].values() if row.status == "ok"])
    return figures(values) if values else {}
