"""Lightning callbacks that watch a predict loop: metrics, pictures, progress. Usable in anyone's Trainer."""

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
