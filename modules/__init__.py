"""LightningModules: each solver as a predict_step."""

from modules.base import SolverModule
from modules.map_rps import MapRps

__all__ = ["MapRps", "SolverModule"]
