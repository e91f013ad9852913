"""The Fleet document: read it with `load`, cross-check it with `check`."""

from weir.fleet.loading import LoadedFleet, Workload, load
from weir.fleet.settings import PlannerSettings, RouterSettings

__all__ = ["LoadedFleet", "PlannerSettings", "RouterSettings", "Workload", "load"]
