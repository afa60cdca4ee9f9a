"""Writes the pictures of a run: every image as a file, and grids."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from rps.callbacks.base import RunCallback
from rps.metrics.images import as_saved
from rps.protocol import run_module
from rps.records.directory import GRID
from rps.records.done import Outcomes, restored_ids
from rps.records.files import file_name, level_name, picture_file, spread_name
from rps.report.grid import STD_GAIN, prediction_grid
from rps.report.pictures import deep_pixels, pixels, read_saved, save_picture
from rps.restoration import Level, Prediction
from rps.settings import at_least_one


class ImageWriter(RunCallback):
    """Writes RUN/images/LEVEL/ID.png: restorations rounded to 8 bits, exactly the images that metrics are computed on.

    A PNG of 16 bits holds more than that: metrics are computed on what it is when rounded to 8 bits.
    RUN/images/measurement/ID.png shows the measurement as A^+ y, and RUN/images/reference/ID.png the clean image, if
    there is one. RUN/images/LEVEL_std/ID.png shows the pixel-wise standard deviation of averaged samples, times
    STD_GAIN: white is 1/4 of the range or more. Images with values that are not finite are not written.
    rps.records.file_name turns ids into file names: none leaves the directory, and no two ids collide.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
        format: null or "png", of 8 bits; "png16", of 16; or "webp", without loss, of 8 bits and at most 16383 pixels a
            side.
    """

    def __init__(self, output: str | None = None, format: str | None = None) -> None:
        super().__init__(output)
        if format not in (None, "png", "png16", "webp"):
            raise ValueError(
                f"format must be png, png16 (16 bits) or webp (lossless), got {format!r}; metrics describe the saved "
                "pictures, so there is no format that changes them"
            )
        self.format = format
        self.suffix = ".webp" if format == "webp" else ".png"

    def lacking(self, run: Path, found: Outcomes) -> set[str]:
        missing: set[str] = set()
        for level, ids in restored_ids(found).items():
            folder = run / "images" / level_name(level)
            there = set(os.listdir(folder)) if folder.is_dir() else set()
            missing |= {id_ for id_ in ids if f"{file_name(id_)}{self.suffix}" not in there}
            if (shown := run / "images" / "measurement").is_dir():
                missing |= {id_ for id_ in ids if not (shown / f"{file_name(id_)}{self.suffix}").exists()}
        return missing

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        if not prediction.ids:
            return
        folder = self.run_directory(trainer) / "images"
        # The clean images first: whoever finds a restoration finds its clean image as well.
        sets = {} if prediction.reference is None else {"reference": prediction.reference}
        sets |= {level_name(level): images for level, images in prediction.restoration.images.items()}
        spread = prediction.restoration.spread
        sets |= {spread_name(level): STD_GAIN * std - 1 for level, std in spread.items()}
        if (shown := prediction.measurement.pseudo_inverse()) is not None:
            sets["measurement"] = shown
        for name, images in sets.items():
            finite = images.isfinite().flatten(1).all(1).tolist()
            for id_, image, good in zip(prediction.ids, images, finite, strict=True):
                if good:
                    picture = deep_pixels(image) if self.format == "png16" else pixels(as_saved(image))
                    save_picture(picture, folder / name / f"{file_name(id_)}{self.suffix}")


class GridWriter(RunCallback):
    """Writes one grid per batch to RUN/grids; rows are samples, columns the reference, the measurement and the levels.

    A run that resumes keeps the existing grids and continues their numbers. A run that is extended by levels replaces
    them by grids of all levels, the earlier ones from their pictures, without their standard deviations.

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
        at_least_one(max_samples=max_samples, every_n_batches=every_n_batches)
        self.max_samples = max_samples
        self.every_n_batches = every_n_batches
        self.max_grids = max_grids
        self.count = self.first = 0
        self.stale: list[Path] = []  # to be removed when the first grid is written

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder, rank = self.run_directory(trainer) / "grids", trainer.global_rank
        found = {path: GRID.fullmatch(path.name) for path in folder.glob("*.png")}
        mine = {path: match for path, match in found.items() if match and int(match[1]) % trainer.world_size == rank}
        self.stale = list(mine) if run_module(pl_module).levels_left else []
        numbers = [int(match[3]) for path, match in mine.items() if int(match[1]) == rank and path not in self.stale]
        self.count, self.first = len(numbers), max(numbers, default=-1) + 1

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        if batch % self.every_n_batches or self.count >= self.max_grids:
            return
        sheet = prediction_grid(prediction, self.max_samples, self._earlier(trainer, module, prediction))
        if sheet is not None:
            while self.stale:
                self.stale.pop().unlink(missing_ok=True)
            place = f"_loader{loader}" if loader else ""
            name = f"rank{trainer.global_rank}{place}_batch{self.first + batch:05d}.png"
            save_picture(sheet, self.run_directory(trainer) / "grids" / name)
            self.count += 1

    def _earlier(self, trainer: L.Trainer, module: Any, prediction: Prediction) -> dict[Level, Tensor]:
        """The pictures of samples that lacked levels, at the other levels."""
        ids, images = prediction.ids[: self.max_samples], self.run_directory(trainer) / "images"
        if not images.is_dir() or not any(id_ in run_module(module).levels_left for id_ in ids):
            return {}
        levels = [level for path in images.iterdir() if (level := _level_of(path.name)) is not None]
        shape = prediction.measurement.image_shape

        def picture(level: Level, id_: str) -> Tensor:
            path = picture_file(images / level_name(level), file_name(id_))
            return read_saved(path, shape) if path.is_file() else torch.full(shape, torch.nan)

        return {
            level: torch.stack([picture(level, id_) for id_ in ids])
            for level in levels
            if level not in prediction.restoration.images
        }


def _level_of(folder: str) -> Level | None:
    """The level whose pictures a folder holds."""
    try:
        return float(folder) if level_name(float(folder)) == folder else None
    except (ValueError, OverflowError):
        return None
