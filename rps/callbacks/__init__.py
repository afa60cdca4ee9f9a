"""Lightning callbacks that watch a predict loop: metrics, pictures, the curve, progress. Usable in anyone's Trainer."""

from rps.callbacks.base import RunCallback
from rps.callbacks.curve_plot import CurvePlot
from rps.callbacks.metric_recorder import MetricRecorder
from rps.callbacks.pictures import GridWriter, ImageWriter
from rps.callbacks.progress_bar import ProgressBar
from rps.callbacks.report_page import ReportPage

__all__ = [
    "CurvePlot",
    "GridWriter",
    "ImageWriter",
    "MetricRecorder",
    "ProgressBar",
    "ReportPage",
    "RunCallback",
]
