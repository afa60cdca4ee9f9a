"""LightningDataModules: where images come from."""

from datamodules.base import Batch, SampleDataModule
from datamodules.embedded import Embedded
from datamodules.image_folder import ImageFolder

__all__ = ["Batch", "Embedded", "ImageFolder", "SampleDataModule"]
