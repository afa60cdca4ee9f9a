"""Train and export the photo prior (RGB, 64 x 64 patches of photographs, eps prediction; arXiv 2006.11239).

python tools/photos.py packages --output runs/photos       # the photographs; see there
python tools/train_photos.py train --data runs/photos --max-minutes 60       # repeating the command resumes
python tools/train_photos.py export --output FOLDER        # the averaged weights, as a diffusers DDPMPipeline folder
python tools/train_photos.py sheet FOLDER --output sheet.png                 # unconditional samples
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset
from train_prior import PriorTraining, build_scheduler, export, sample
from training import add_arguments, budget, build_unet, either, fit

SIZE = 64  # of a patch
PER_EPOCH = 64  # patches of each photograph in an epoch


class PhotoTraining(PriorTraining):
    """Patches at random places of photographs, flipped with probability 1/2. A batch is numbers of photographs.

    Args:
        photos: float or uint8 images [3,H,W] of any sizes of at least 64, in 0..255.
    """

    def __init__(self, photos: Sequence[Tensor], channels: Sequence[int], **budget: Any) -> None:
        super().__init__(channels, **budget)
        canvas = torch.zeros(len(photos), 3, *(max(p.shape[d] for p in photos) for d in (1, 2)), dtype=torch.uint8)
        for row, photo in zip(canvas, photos, strict=True):
            row[:, : photo.shape[1], : photo.shape[2]] = photo
        # not buffers, which the average of the weights would include
        self.canvas, self.room = canvas, torch.tensor([[n - SIZE + 1 for n in p.shape[1:]] for p in photos])

    def on_train_start(self) -> None:
        super().on_train_start()
        self.canvas, self.room = self.canvas.to(self.device), self.room.to(self.device)

    @staticmethod
    def build(channels: Sequence[int], classes: int | None = None) -> tuple[Any, Any]:
        """(network, scheduler).  channels (32, 56, 64, 64): 1.5 M parameters."""
        return build_unet(channels, SIZE, 3, 3, attention=1), build_scheduler()

    def draw(self, batch: list[Tensor]) -> Tensor:
        (n,) = batch
        corner = (torch.rand(len(n), 2, device=n.device) * self.room[n]).long()
        rows, columns = (corner[:, d, None] + torch.arange(SIZE, device=n.device) for d in (0, 1))
        x0 = self.canvas[n[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        x0 = x0.float() / 127.5 - 1
        return either(x0, x0.flip(-1))


def load(folder: Path) -> list[Tensor]:
    """The PNGs of a folder, by name: uint8 [3,H,W]."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".png", ".webp"))
    if not files:
        raise FileNotFoundError(f"no PNG in {folder}: make it with tools/photos.py, or pass --data FOLDER")
    return [torch.from_numpy(np.array(Image.open(f).convert("RGB"))).permute(2, 0, 1) for f in files]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train", help="train, or resume")
    add_arguments(t, "runs/train_photos", [32, 56, 64, 64], 100000, 64)
    t.set_defaults(data=Path("runs/photos"))
    e = commands.add_parser("export", help="checkpoint -> diffusers folder")
    e.add_argument("--output", type=Path, required=True)
    e.add_argument("--checkpoint", type=Path, default=Path("runs/train_photos/last.ckpt"))
    s = commands.add_parser("sheet", help="unconditional samples")
    s.add_argument("model", type=Path, help="diffusers DDPMPipeline folder")
    s.add_argument("--output", type=Path, required=True)
    a = parser.parse_args(arguments)
    if a.command == "export":
        return export(a.checkpoint, a.output, PhotoTraining)
    if a.command == "sheet":
        import torchvision
        from diffusers import DDPMPipeline

        pipeline: Any = DDPMPipeline.from_pretrained(a.model, torch_dtype=torch.float32)
        return torchvision.utils.save_image(sample(pipeline, 64), a.output, nrow=8)
    lightning.seed_everything(a.seed)
    photos = load(a.data)
    module = PhotoTraining(photos, a.channels, **budget(a))
    return fit(module, TensorDataset(torch.arange(len(photos)).repeat(PER_EPOCH)), a.folder, a.batch_size,
               precision=a.precision)  # fmt: skip


if __name__ == "__main__":
    main()
