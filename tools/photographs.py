"""The pictures of docs/any_size.md: scikit-image's photographs, pen-drawn masks for them, and comparisons of runs.

python tools/photographs.py prepare FOLDER           # FOLDER/pictures and FOLDER/masks (white is known)
python tools/photographs.py compare RUN --output docs/figures/NAME.png
python tools/photographs.py seams RUN                # error and jumps along the borders of tiles (rps.metrics.seams)
python tools/photographs.py time FOLDER --threads 2  # prepares, runs the three tasks, and prints their time and memory
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

NAMES = ("astronaut", "chelsea", "coffee")
STROKES = 7
PEN = 0.022  # width of the pen, as a share of the picture's shorter side
GAP = 8
TASKS = {
    "sr4": "--config task/sr4 --model.noise 0.05",
    "pen-drawn holes": "--model.operator MaskFile --model.operator.masks MASKS --model.noise 0.02 --model.t0 [0,100]",
    "deblur_aniso": "--config task/deblur_aniso --model.noise 0.05 --model.t0 [0,50]",
}
"""The flags of each task; MASKS is the folder of masks."""


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


def compare(run: Path, output: Path, width: int) -> None:
    """A row for each picture of a run: the original, the measurement, and every level; each `width` pixels wide."""
    levels = sorted((f for f in (run / "images").iterdir() if f.name.isdecimal()), key=lambda f: int(f.name))
    folders = [run / "images" / "reference", run / "images" / "measurement", *levels]
    rows = []
    for file in sorted(levels[0].glob("*.png")):
        size = Image.open(levels[0] / file.name).size
        row = []
        for folder in folders:
            picture = Image.open(folder / file.name).convert("RGB").resize(size, Image.Resampling.NEAREST)
            row.append(np.pad(picture.resize((width, round(size[1] * width / size[0]))), ((0, GAP), (0, GAP), (0, 0)),
                              constant_values=255))  # fmt: skip
        rows.append(np.concatenate(row, 1))
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(output, optimize=True)


def seams_of(run: Path) -> None:
    """Prints the seams of every picture and level of a run with the photo prior in tiles of its size."""
    from rps.metrics import seams
    from rps.pictures import read_picture
    from rps.priors import PhotoPrior, TiledPrior

    prior = TiledPrior(PhotoPrior())
    for file in sorted((run / "images").glob("[0-9]*/*.png")):
        x, reference = (read_picture(f, 3)[None] for f in (file, run / "images" / "reference" / file.name))
        print(f"t0 = {file.parent.name}, {file.stem}: {seams(x, reference, prior.borders(*x.shape[2:]))}")


def time_tasks(folder: Path, threads: int) -> None:
    """Prints, of `rps predict` for each task as a whole process on the CPU, the seconds per megapixel of the pictures
    on the clock and on all cores together, and the peak of resident memory."""
    prepare(folder)
    megapixels = sum(math.prod(Image.open(file).size) for file in (folder / "pictures").iterdir()) / 1e6
    print(f"{megapixels:.3f} megapixels, threads: {threads}, cores: {os.cpu_count()}\n")
    print("| task | seconds per megapixel | CPU seconds per megapixel | peak memory |\n|---|---:|---:|---:|")
    for task, flags in TASKS.items():
        command = [sys.executable, "-m", "rps.cli", "predict", "--config", "photos", "--trainer.accelerator", "cpu"]
        command += ["--data.folder", str(folder / "pictures"), "--output", str(folder / task), "--overwrite"]
        command += [str(folder / "masks") if flag == "MASKS" else flag for flag in flags.split()]
        start, threaded = time.perf_counter(), os.environ | {"OMP_NUM_THREADS": str(threads)}
        child = subprocess.Popen(command, env=threaded, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{task} ended with exit code {child.returncode}")
        wall, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
        print(f"| {task} | {wall / megapixels:.0f} | {cpu / megapixels:.0f} | {used.ru_maxrss / 2**20:.2f} GiB |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare", help="write photographs and masks")
    p.add_argument("folder", type=Path)
    c = commands.add_parser("compare", help="original, measurement and levels of a run, side by side")
    c.add_argument("run", type=Path)
    c.add_argument("--output", type=Path, required=True)
    c.add_argument("--width", type=int, default=240, help="of each picture")
    r = commands.add_parser("seams", help="error and jumps along the borders of tiles, relative to elsewhere")
    r.add_argument("run", type=Path)
    t = commands.add_parser("time", help="time and memory of the three tasks on the CPU")
    t.add_argument("folder", type=Path)
    t.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    if a.command == "time":
        return time_tasks(a.folder, a.threads)
    if a.command == "seams":
        return seams_of(a.run)
    return prepare(a.folder) if a.command == "prepare" else compare(a.run, a.output, a.width)


if __name__ == "__main__":
    main()
