"""Evaluates methods against exact posteriors: worlds where these are known, measures, a recorder and its table."""

from rps.metrics.dp import distortion
from rps.oracle.gaussian import Gaussian, optimal_coupling, propagate_affine, rps_law
from rps.oracle.measures import Figure, exact_samples, figures, measures, outputs
from rps.oracle.plane import Plane
from rps.oracle.problem import Problem
from rps.oracle.recorder import OracleRecorder
from rps.oracle.report import oracle_table
from rps.oracle.worlds import draw, empirical_prior, smooth_prior

__all__ = [
    "Figure",
    "Gaussian",
    "OracleRecorder",
    "Plane",
    "Problem",
    "distortion",
    "draw",
    "empirical_prior",
    "exact_samples",
    "figures",
    "measures",
    "optimal_coupling",
    "oracle_table",
    "outputs",
    "propagate_affine",
    "rps_law",
    "smooth_prior",
]
