"""Writes the pictures of a run: every image as a PNG, and grids."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L

from rps.callbacks.base import RunCallback
from rps.metrics.images import as_saved
from rps.records.directory import GRID
from rps.records.done import Outcomes, restored_ids
from rps.records.files import file_name, level_name
from rps.report.grid import prediction_grid
from rps.report.pictures import pixels, save_png
from rps.restoration import Prediction


class ImageWriter(RunCallback):
    """Writes RUN/images/LEVEL/ID.png: restorations rounded to 8 bits, exactly the images that metrics are computed on.

    RUN/images/measurement/ID.png shows the measurement as A^+ y. Images with values that are not finite are not
    written. rps.records.file_name turns ids into file names: none leaves the directory, and no two ids collide.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def lacking(self, run: Path, found: Outcomes) -> set[str]:
        missing: set[str] = set()
        for level, ids in restored_ids(found).items():
            folder = run / "images" / level_name(level)
            there = set(os.listdir(folder)) if folder.is_dir() else set()
            missing |= {id_ for id_ in ids if f"{file_name(id_)}.png" not in there}
            if (shown := run / "images" / "measurement").is_dir():
                missing |= {id_ for id_ in ids if not (shown / f"{file_name(id_)}.png").exists()}
        return missing

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        if not prediction.ids:
            return
        folder = self.run_directory(trainer) / "images"
        sets = {level_name(level): images for level, images in prediction.restoration.images.items()}
        if (shown := prediction.measurement.pseudo_inverse()) is not None:
            sets["measurement"] = shown
        for name, images in sets.items():
            finite = images.isfinite().flatten(1).all(1).tolist()
            for id_, image, good in zip(prediction.ids, as_saved(images).cpu(), finite, strict=True):
                if good:
                    save_png(pixels(image), folder / name / f"{file_name(id_)}.png")


class GridWriter(RunCallback):
    """Writes one grid per batch to RUN/grids; rows are samples, columns the reference, the measurement and the levels.

    A run that resumes keeps the existing grids and continues their numbers.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
        max_samples: the largest number of rows in a grid.
        every_n_batches: a grid is written for one batch in this many.
        max_grids: the largest number of grids from each process.
    """

    def __init__(
        self, output: str | None = None, max_samples: int = 16, every_n_batches: int = 1, max_grids: int = 16
    ) -> None:
        super().__init__(output)
        for name, value in (("max_samples", max_samples), ("every_n_batches", every_n_batches)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.max_samples = max_samples
        self.every_n_batches = every_n_batches
        self.max_grids = max_grids
        self.count = self.first = 0

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder, rank = self.run_directory(trainer) / "grids", f"rank{trainer.global_rank}_"
        mine = [name for name in os.listdir(folder) if name.startswith(rank)] if folder.is_dir() else []
        numbers = [int(match[2]) for name in mine if (match := GRID.fullmatch(name))]
        self.count, self.first = len(numbers), max(numbers, default=-1) + 1

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        if batch % self.every_n_batches or self.count >= self.max_grids:
            return
        sheet = prediction_grid(prediction, self.max_samples)
        if sheet is not None:
            place = f"_loader{loader}" if loader else ""
            name = f"rank{trainer.global_rank}{place}_batch{self.first + batch:05d}.png"
            save_png(sheet, self.run_directory(trainer) / "grids" / name)
            self.count += 1
