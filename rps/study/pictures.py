"""The pictures of several runs side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rps.records.files import PICTURES, level_name, picture_file
from rps.report.grid import grid
from rps.report.pictures import read_saved
from rps.study.results import Result

ROWS, WRAP = 6, 15
"""Samples, and characters in a line of a title."""


def visual_table(results: Sequence[Result]) -> np.ndarray:
    """Rows are the first samples that all runs have restored, columns the clean image, A^+ y and the runs.

    A single run is shown at all levels, each of several at its first, middle and last one. -> uint8 [H, W, 3].
    Errors: ValueError if the runs have no pictures in common.
    """
    images = results[0].folder / "images"
    columns = [("clean", images / "reference"), ("A⁺y", images / "measurement")]
    columns = [(title, folder) for title, folder in columns if folder.is_dir()]
    for of in results:
        levels = [level["level"] for level in of.summary["levels"]]
        shown = levels if len(results) == 1 else dict.fromkeys((levels[0], levels[len(levels) // 2], levels[-1]))
        for level in shown:
            lines = textwrap.wrap(of.run, WRAP)
            lines += [f"{of.summary['knob']} {level_name(level)}"] if len(levels) > 1 else []
            columns.append(("\n".join(lines), of.folder / "images" / level_name(level)))
    there = ((path for path in folder.glob("*") if path.suffix in PICTURES) for _, folder in columns)
    names = sorted(set.intersection(*({path.stem for path in paths} for paths in there)))
    if not names:
        raise ValueError("the runs have no pictures of the same samples; add rps.callbacks.ImageWriter to their config")
    return grid(
        [
            (title, torch.stack([_picture(picture_file(folder, name)) for name in names[:ROWS]]))
            for title, folder in columns
        ]
    )


def _picture(path: Path) -> Tensor:
    """A picture as it is shown: images of neither 1 nor 3 channels are grey and side by side."""
    from PIL import Image

    with Image.open(path) as file:
        shape = (len(file.getbands()), file.height, file.width)
    return read_saved(path, shape)
