"""Sends the results of a run to loggers of Lightning: CSV, TensorBoard, W&B, MLflow, or your own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.report.cells import figure
from rps.restoration import Level


def log_run(loggers: Sequence[Any], summary: Mapping[str, Any], run: Path) -> None:
    """Logs the figures of every level, the distortion-perception curve and the grids.

    loggers: of a Trainer. summary: the content of metrics.json. run: the run directory.
    """
    entries = [entry for entry in summary["levels"] if entry["n"]]
    steps = level_steps([entry["level"] for entry in entries])
    pictures = [path for path in (run / "dp_curve.png", *sorted((run / "grids").glob("*.png"))) if path.is_file()]
    for logger in loggers:
        for step, entry in zip(steps, entries, strict=True):
            logger.log_metrics(level_figures(summary["knob"], entry), step=step)
        for path in pictures if entries else ():
            log_picture(logger, path.relative_to(run).with_suffix("").as_posix(), path)


def level_steps(levels: Sequence[Level]) -> list[int]:
    """The step of each level: the level itself if all are whole and none is negative, else 0, 1, ... in their order."""
    whole = all(level >= 0 and float(level).is_integer() for level in levels)
    return [int(level) if whole else i for i, level in enumerate(levels)]


def level_figures(knob: str, entry: Mapping[str, Any]) -> dict[str, float]:
    """Name -> value of the finite figures of a level: the knob, costs and counts by their names in metrics.json, the
    means of all metrics by their names, and their standard errors as NAME_se."""
    numbers = {name: value for name, value in entry.items() if isinstance(value, int | float)}
    found = {knob: numbers.pop("level"), **numbers}
    for prefix, metrics in (("", entry["metrics"]), ("oracle_", entry.get("oracle", {}))):
        for name in (*metrics, *(("sqrt_frechet",) if "frechet" in metrics else ())):
            value, se = figure(metrics, name)
            found |= {f"{prefix}{name}": value, f"{prefix}{name}_se": se}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def log_picture(logger: Any, name: str, path: Path) -> None:
    """Logs a PNG by the methods of W&B, TensorBoard or MLflow; nothing for loggers without any of them, such as CSV."""
    if hasattr(logger, "log_image"):
        logger.log_image(name, [str(path)])
    elif hasattr(logger.experiment, "add_image"):
        import numpy as np
        from PIL import Image

        logger.experiment.add_image(name, np.asarray(Image.open(path)), dataformats="HWC")
    elif hasattr(logger.experiment, "log_artifact"):
        logger.experiment.log_artifact(logger.run_id, str(path), Path(name).parent.name or None)
