"""Measure the seams of tiles, by overlap, against the clean pictures and against the network at the pictures' size.

    python tools/seams.py                                              # the embedded prior on enlarged embedded images
    python tools/seams.py --prior models/photos --pictures my_photos --size 256 --overlap 0 16 64

Prints one row per task, level and overlap: RMSE in [0, 1]; the root mean square difference to the result without tiles;
and the ratios of rps.metrics.seams, of the error and of its jumps, to both references. Run it with tiles that the
network can exceed: a UNet of diffusers in pixels.
"""

from __future__ import annotations

import argparse
import time

from torch import Tensor
from torch.nn.functional import interpolate

import rps
from datamodules import Embedded, ImageFolder
from rps.metrics import as_saved, rmse, seams

TASKS = {"sr4": rps.SuperResolution(4), "inpaint": rps.Inpaint(0.5), "deblur_aniso": rps.AnisotropicBlur()}
LIMIT = 8  # pictures


def pictures(folder: str | None, size: int, channels: int) -> list[Tensor]:
    """Batches [N, C, H, W]: pictures within a square of `size`, or embedded ones, three times as large, of 45 x 70."""
    if folder is None:
        (batch,) = Embedded(limit=LIMIT).predict_dataloader()
        large = interpolate(batch["image"], scale_factor=3, mode="bicubic", antialias=True).clamp(-1, 1)
        return [large[:, :, 10:55, 12:82].contiguous()]
    data = ImageFolder(folder, size=size, fit="resize", channels=channels, limit=LIMIT)
    data.setup("predict")
    return [batch["image"] for batch in data.predict_dataloader() if batch["id"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="folder of a UNet2DModel in diffusers format; the embedded prior if left out")
    parser.add_argument("--pictures", help="folder of pictures")
    parser.add_argument("--size", type=int, default=256, help="longest side of the pictures")
    parser.add_argument("--overlap", type=int, nargs="+", default=[0, 2, 4, 8, 16])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    prior = rps.DiffusersPrior.from_pretrained(given.prior) if given.prior else rps.EmbeddedPrior()
    method = rps.MapRps(t0=[0, 100], steps=10, estimator=rps.ProximalMap(num_steps=20))
    print("| task | t0 | overlap | RMSE | difference | error, jump: clean | error, jump: no tiles | s / megapixel |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for clean in pictures(given.pictures, given.size, prior.image_shape[0]):
        clean = clean.to(given.device)
        for task, operator in TASKS.items():
            measurement = rps.degrade(clean, operator, 0.1)
            whole = method.run(measurement, rps.TiledPrior(prior, tile=16384).to(given.device)).images
            for level, x in whole.items():
                print(f"| {task} | {level} | no tiles | {rmse(as_saved(x), as_saved(clean)).mean():.4f} | | | | |")
            for overlap in given.overlap:
                tiled = rps.TiledPrior(prior, overlap=overlap).to(given.device)
                start, borders = time.monotonic(), tiled.borders(*clean.shape[2:])
                found = method.run(measurement, tiled).images
                speed = (time.monotonic() - start) / (len(clean) * clean[0, 0].numel() / 1e6)
                for level, x in found.items():
                    own, other = seams(x, clean, borders), seams(x, whole[level], borders)
                    errors = [rmse(as_saved(x), as_saved(reference)).mean() for reference in (clean, whole[level])]
                    print(
                        f"| {task} | {level} | {overlap} | {errors[0]:.4f} | {errors[1]:.4f} | {own.error:.2f}, "
                        f"{own.jump:.2f} | {other.error:.2f}, {other.jump:.2f} | {speed:.0f} |"
                    )


if __name__ == "__main__":
    main()
