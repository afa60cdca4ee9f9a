"""LightningDataModules, the sources of images."""

from datamodules.analytic import Analytic
from datamodules.base import Batch, SampleDataModule
from datamodules.embedded import Embedded
from datamodules.huggingface import HuggingFace
from datamodules.image_folder import ImageFolder

__all__ = ["Analytic", "Batch", "Embedded", "HuggingFace", "ImageFolder", "SampleDataModule"]
