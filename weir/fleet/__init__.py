"""The Fleet document: read it with `load`, cross-check it with `check`."""

from weir.fleet.finding import Finding, Level
from weir.fleet.loading import LoadedFleet, Workload, check, inspect, load, loads
from weir.fleet.settings import PlannerSettings, RouterSettings, SimulationSettings

__all__ = [
    "inspect",
    "Finding",
    "Level",
    "LoadedFleet",
    "PlannerSettings",
    "RouterSettings",
    "SimulationSettings",
    "Workload",
    "check",
    "load",
    "loads",
]
