"""Lightning callbacks that observe a predict loop: metrics, pictures, progress. They work in any Trainer."""

from rps.callbacks.base import RunCallback
from rps.callbacks.metric_recorder import MetricRecorder
from rps.callbacks.pictures import GridWriter, ImageWriter
from rps.callbacks.progress_bar import ProgressBar

__all__ = [
    "GridWriter",
    "ImageWriter",
    "MetricRecorder",
    "ProgressBar",
    "RunCallback",
]
