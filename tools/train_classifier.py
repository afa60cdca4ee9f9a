"""Train the embedded feature network: a narrow timm ResNet on padded Fashion-MNIST, and its reference statistics.

    python tools/train_classifier.py                  # trains, exports, prints the accuracy
    python tools/train_classifier.py --no-training    # only the reference statistics and the accuracy

The embedded Frechet distance uses the averaged feature maps of stage STAGE; tools/compare_features.py shows why.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import fashion_mnist
import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from training import either

from rps.metrics import Statistics, TimmFeatures

OUTPUT = Path(__file__).resolve().parent.parent / "rps/assets/embedded/classifier"
# Few features, so that 64 images give a usable covariance; stride 8 instead of 32 suits small images.
MODEL: dict[str, Any] = {
    "model_name": "resnet10t", "in_chans": 1, "num_classes": 10, "channels": [32, 48, 64, 64], "stem_width": 16,
    "output_stride": 8,
}  # fmt: skip
STAGE = 1  # timm's layer1: 32 feature maps
MEAN, STD = 0.219, 0.332  # of the padded training images in [0,1]
REFERENCE = slice(1000, 10000)  # test images 1000..9999: disjoint from the 1,000 that are shipped


def normalise(images: np.ndarray) -> Tensor:
    """uint8 [N,32,32] -> float [N,1,32,32]: [0,1], then (x - MEAN) / STD."""
    return (torch.from_numpy(images)[:, None].float() / 255 - MEAN) / STD


class ClassifierTraining(lightning.LightningModule):
    """Cross-entropy with label smoothing .1; AdamW, one-cycle schedule; horizontal flips, shifts of up to 2 pixels."""

    def __init__(self, lr: float = 4e-3) -> None:
        super().__init__()
        import timm

        self.network, self.lr = timm.create_model(**MODEL), lr

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.05)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, label = batch
        x = either(x, x.flip(-1))
        x = x.roll(torch.randint(-2, 3, (2,)).tolist(), (2, 3))  # the black border makes a roll a shift
        loss = torch.nn.functional.cross_entropy(self.network(x), label, label_smoothing=0.1)
        self.log("loss", loss, prog_bar=True)
        return loss


def export(network: nn.Module, folder: Path) -> None:
    """Writes config.json and model.safetensors (fp16)."""
    from safetensors.torch import save_file

    config = {
        "model": MODEL,
        "input_size": [1, fashion_mnist.SIZE, fashion_mnist.SIZE],
        "normalisation": {"input_range": [0.0, 1.0], "mean": [MEAN], "std": [STD]},
        "stage": STAGE,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")


@torch.no_grad()
def accuracy(folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fraction of images that the exported network classifies correctly, and its binomial standard error."""
    network = TimmFeatures(str(folder)).network
    logits = torch.cat([network(x) for x in normalise(images).split(500)])
    correct = float((logits.argmax(1).numpy() == labels).mean())
    return correct, (correct * (1 - correct) / len(labels)) ** 0.5


@torch.no_grad()
def features(network: TimmFeatures, images: np.ndarray) -> Tensor:
    """The network's features.  images: uint8 [N,32,32] -> [N, D]."""
    batches = torch.from_numpy(images)[:, None].float().div(255).split(500)
    return torch.cat([network(x) for x in batches])


def reference(folder: Path, images: np.ndarray) -> Statistics:
    """Statistics of the exported network's features of the test images in REFERENCE."""
    name = f"Fashion-MNIST test images {REFERENCE.start}..{REFERENCE.stop - 1}, padded to 32x32"
    return Statistics.from_features(features(TimmFeatures(str(folder)), images[REFERENCE]), name)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-training", action="store_true", help="do not train: use the network in --output")
    a = parser.parse_args(arguments)
    test_images, test_labels = fashion_mnist.load("test", a.data)
    if not a.no_training:
        lightning.seed_everything(a.seed)
        images, labels = fashion_mnist.load("train", a.data)
        loader = DataLoader(
            TensorDataset(normalise(images), torch.from_numpy(labels)), 128, shuffle=True, drop_last=True
        )
        module = ClassifierTraining()
        settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        lightning.Trainer(accelerator="cpu", max_epochs=a.epochs, **settings).fit(module, loader)
        export(module.network, a.output)
    reference(a.output, test_images).save(a.output / "reference.safetensors")
    correct, error = accuracy(a.output, test_images, test_labels)
    print(f"accuracy on {len(test_labels)} test images: {correct:.4f} +- {error:.4f}")
    print(f"classifier: {a.output}")


if __name__ == "__main__":
    main()
