"""The pictures of docs/any_size.md: scikit-image's photographs, pen-drawn masks for them, and comparisons of runs.

python tools/photographs.py prepare FOLDER           # FOLDER/pictures and FOLDER/masks (white is known)
python tools/photographs.py compare RUN --output docs/figures/NAME.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

NAMES = ("astronaut", "chelsea", "coffee")
STROKES = 7
PEN = 0.022  # width of the pen, as a share of the picture's shorter side
GAP = 8


def strokes(size: tuple[int, int], seed: int) -> Image.Image:
    """A mask with scribbles, each a smooth walk of the pen: white, where the pen was not."""
    random, (width, height) = np.random.default_rng(seed), size
    mask = Image.new("L", size, 255)
    pen, draw = round(PEN * min(size)), ImageDraw.Draw(mask)
    for _ in range(STROKES):
        place, angle = random.uniform((0.1, 0.1), (0.9, 0.9)) * (width, height), random.uniform(0, 2 * np.pi)
        for _ in range(40):
            angle += random.normal(0, 0.35)
            after = place + 0.02 * min(size) * np.array([np.cos(angle), np.sin(angle)])
            draw.line([*place, *after], fill=0, width=pen)
            draw.ellipse([*(after - pen / 2), *(after + pen / 2)], fill=0)
            place = after
    return mask


def prepare(folder: Path) -> None:
    """Writes the photographs in their own size, and a mask for each."""
    for part in ("pictures", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(NAMES):
        picture = Image.fromarray(getattr(skimage.data, name)())
        picture.save(folder / "pictures" / f"{name}.png")
        strokes(picture.size, seed).save(folder / "masks" / f"{name}.png")


def compare(run: Path, output: Path, width: int, crop: list[int] | None) -> None:
    """A row for each picture of a run: the original, the measurement, and every level; each `width` pixels wide."""
    levels = sorted((f for f in (run / "images").iterdir() if f.name.isdecimal()), key=lambda f: int(f.name))
    folders = [run / "images" / "reference", run / "images" / "measurement", *levels]
    rows = []
    for file in sorted(levels[0].glob("*.png")):
        size = Image.open(levels[0] / file.name).size
        x, y, wide, high = crop or (0, 0, *size)
        row = []
        for folder in folders:
            picture = Image.open(folder / file.name).convert("RGB").resize(size, Image.Resampling.NEAREST)
            picture = picture.crop((x, y, x + wide, y + high))
            row.append(np.pad(picture.resize((width, round(high * width / wide))), ((0, GAP), (0, GAP), (0, 0)),
                              constant_values=255))  # fmt: skip
        rows.append(np.concatenate(row, 1))
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(output, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare", help="write photographs and masks")
    p.add_argument("folder", type=Path)
    c = commands.add_parser("compare", help="original, measurement and levels of a run, side by side")
    c.add_argument("run", type=Path)
    c.add_argument("--output", type=Path, required=True)
    c.add_argument("--width", type=int, default=240, help="of each picture")
    c.add_argument("--crop", type=int, nargs=4, metavar=("X", "Y", "WIDTH", "HEIGHT"))
    a = parser.parse_args()
    prepare(a.folder) if a.command == "prepare" else compare(a.run, a.output, a.width, a.crop)


if __name__ == "__main__":
    main()
