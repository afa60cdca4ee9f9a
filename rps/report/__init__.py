"""Reports of a run: the table of levels, the distortion-perception curve, grids of pictures, the page."""

from rps.report.curve import dp_curve_plot
from rps.report.finish import finish
from rps.report.grid import grid, prediction_grid
from rps.report.page import write_page
from rps.report.paired import compare_runs
from rps.report.paired_table import paired_table
from rps.report.pictures import pixels, read_saved, save_picture
from rps.report.recommend import Recommendation, recommend
from rps.report.several import report_runs
from rps.report.shown import Shown
from rps.report.table import table

__all__ = [
    "Recommendation",
    "Shown",
    "compare_runs",
    "dp_curve_plot",
    "finish",
    "grid",
    "paired_table",
    "pixels",
    "prediction_grid",
    "read_saved",
    "recommend",
    "report_runs",
    "save_picture",
    "table",
    "write_page",
]
