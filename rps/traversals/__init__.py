"""Ways along the distortion-perception curve."""

from rps.traversals.base import Traversal
from rps.traversals.map_rps import MapRps

__all__ = ["MapRps", "Traversal"]
