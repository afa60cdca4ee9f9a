"""Train the embedded feature network: a narrow timm ResNet on padded Fashion-MNIST, and its reference statistics.

    python tools/train_classifier.py          # trains, exports, prints accuracy and Frechet distances

Its pooled features, forward_head(forward_features(x), pre_logits=True), give the embedded Frechet distance.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fashion_mnist

Statistics = tuple[np.ndarray, np.ndarray, int]  # mean [D], unbiased covariance [D,D], number of rows
OUTPUT = Path(__file__).resolve().parent.parent / "rps/assets/embedded/classifier"
MODEL: dict[
    str, Any
] = {  # 64 features, so that a covariance of 64 images means something; stride 8 instead of 32 suits small images
    "model_name": "resnet10t",
    "in_chans": 1,
    "num_classes": 10,
    "channels": [32, 48, 64, 64],
    "stem_width": 16,
    "output_stride": 8,
}
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
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
        x = x.roll(torch.randint(-2, 3, (2,)).tolist(), (2, 3))  # the black border makes a roll a shift
        loss = torch.nn.functional.cross_entropy(self.network(x), label, label_smoothing=0.1)
        self.log("loss", loss, prog_bar=True)
        return loss


@torch.no_grad()
def features_and_logits(network: Any, images: np.ndarray, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """images: uint8 [N,32,32] -> pooled features [N,D], logits [N,10]."""
    maps = (network.forward_features(x) for x in normalise(images).split(batch_size))
    features = torch.cat([network.forward_head(m, pre_logits=True) for m in maps])
    return features, network.get_classifier()(features)


def statistics(features: Tensor) -> Statistics:
    f = features.double().numpy()
    return f.mean(0), np.cov(f, rowvar=False), len(f)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two Statistics (arXiv 1706.08500, equation 6)."""
    eigenvalues = np.linalg.eigvals(a[1] @ b[1]).real.clip(0)
    return float(((a[0] - b[0]) ** 2).sum() + np.trace(a[1]) + np.trace(b[1]) - 2 * np.sqrt(eigenvalues).sum())


def export(network: nn.Module, reference: Statistics, folder: Path) -> None:
    """config.json, model.safetensors (fp16) and reference.safetensors (mean, cov: float64; n: int64)."""
    from safetensors.torch import save_file

    mean, cov, n = reference
    config = {
        "model": MODEL,
        "input_size": [1, fashion_mnist.SIZE, fashion_mnist.SIZE],
        "normalisation": {"input_range": [0.0, 1.0], "mean": [MEAN], "std": [STD]},
        "feature_dimension": len(mean),
        "features": "forward_head(forward_features(x), pre_logits=True)",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    tensors = {"mean": torch.from_numpy(mean), "cov": torch.from_numpy(cov), "n": torch.tensor(n)}
    images = f"Fashion-MNIST test images {REFERENCE.start}..{REFERENCE.stop - 1}, padded to 32x32"
    save_file(tensors, folder / "reference.safetensors", {"images": images})


def load(folder: Path) -> nn.Module:
    """The exported network, in float32 and evaluation mode."""
    import timm
    from safetensors.torch import load_file

    network = timm.create_model(**json.loads((folder / "config.json").read_text())["model"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.float().eval()


def load_reference(folder: Path) -> Statistics:
    """The exported statistics of the reference images."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "reference.safetensors")
    return tensors["mean"].numpy(), tensors["cov"].numpy(), int(tensors["n"])


def corruptions(images: np.ndarray, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Clean images, and blurred and noisy ones, to see what the distance tells apart.  uint8 [N,32,32] each."""
    from scipy.ndimage import gaussian_filter

    yield "clean", images
    for std in (0.5, 1.0, 2.0):
        yield f"blur, std {std} pixels", gaussian_filter(images, (0, std, std))
    for std in (0.05, 0.1, 0.2):
        noise = np.random.default_rng(seed).normal(0, 255 * std, images.shape)
        yield f"noise, std {std} in [0,1]", (images + noise).round().clip(0, 255).astype(np.uint8)


def report(network: nn.Module, reference: Statistics, images: np.ndarray, labels: np.ndarray) -> None:
    """Test accuracy; sqrt of the Frechet distance to the reference of test images 0..63, of each 64 of the first 960
    (mean and standard deviation over these 15 groups) and of 0..999."""
    correct = (features_and_logits(network, images)[1].argmax(1).numpy() == labels).mean()
    print(
        f"accuracy on {len(labels)} test images: {correct:.4f} +- {(correct * (1 - correct) / len(labels)) ** 0.5:.4f}"
    )
    print(f"{'sqrt Frechet distance of':24s}   0..63   each 64         0..999")
    for name, x in corruptions(images[:1000]):
        features = features_and_logits(network, x)[0]
        parts = [features] + [features[i : i + 64] for i in range(0, 960, 64)]
        whole, *groups = (frechet_distance(statistics(f), reference) ** 0.5 for f in parts)
        print(f"{name:24s}  {groups[0]:6.3f}  {np.mean(groups):6.3f} +- {np.std(groups, ddof=1):.3f}  {whole:6.3f}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-only", action="store_true", help="do not train: report on the network in --output")
    a = parser.parse_args(arguments)
    test_images, test_labels = fashion_mnist.load("test", a.data)
    if not a.report_only:
        lightning.seed_everything(a.seed)
        images, labels = fashion_mnist.load("train", a.data)
        loader = DataLoader(
            TensorDataset(normalise(images), torch.from_numpy(labels)), 128, shuffle=True, drop_last=True
        )
        module = ClassifierTraining()
        settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        lightning.Trainer(accelerator="cpu", max_epochs=a.epochs, **settings).fit(module, loader)
        module.network.half().float().eval()  # the weights as they are stored
        export(module.network, statistics(features_and_logits(module.network, test_images[REFERENCE])[0]), a.output)
    report(load(a.output), load_reference(a.output), test_images, test_labels)
    print(f"classifier: {a.output}")


if __name__ == "__main__":
    main()
