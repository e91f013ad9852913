"""Policies by name, each in a module of its own that is imported when it is asked for.

A new one: a module here with `make(argument) -> Policy`, and a line in the table below.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

from weir.domain.errors import WeirError
from weir.simulator.policies.port import Policy

__all__ = ["POLICIES", "Entry", "make"]


class Entry(NamedTuple):
    """`argument` is handed to the module's `make`, and after it what follows a colon in the name.

    That is refused where the policy is not `open` to it.
    """

    module: str
    help: str
    argument: str = ""
    open: bool = False


POLICIES: Mapping[str, Entry] = {
    "weir": Entry("weir", "this project's router, pool planners and GlobalPlanner"),
    "static:N": Entry("static", "N replicas of every pool", open=True),
    "static:peak": Entry("static", "each pool at the peak of its true need", open=True),
    "static:p99": Entry("static", "each pool at the 99th percentile of its true need", open=True),
    "hpa": Entry("hpa", "Kubernetes' HPA at 70 % utilisation"),
    "keda-queue": Entry("keda", "KEDA on calls that wait or run"),
    "dynamo-throughput": Entry("dynamo.policy", "Dynamo's throughput thresholds", "throughput"),
    "dynamo-latency": Entry("dynamo.policy", "Dynamo's latency thresholds", "latency"),
    "dynamo-sla": Entry("dynamo.policy", "Dynamo's SLA planner", "sla", open=True),
    "oracle": Entry("oracle", "knows what will come and how fast engines are", open=True),
}
"""By the name that is shown."""


def make(name: str) -> Policy:
    """A policy for one run. Raises `WeirError` if there is none of this name."""
    base, _, argument = name.partition(":")
    for shown, entry in POLICIES.items():
        if shown == name or (entry.open and shown.partition(":")[0] == base):
            module = import_module(f"weir.simulator.policies.{entry.module}")
            given = (part for part in (entry.argument, argument) if part)
            policy: Policy = module.make(":".join(given))
            return policy
    raise WeirError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
