"""A pool planner that runs alone: the planner of its budget is in the same process."""

from weir.alone.app import Alone, run

__all__ = ["Alone", "run"]
