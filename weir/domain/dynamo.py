"""What a Dynamo planner needs to know a pool by, and what its scale requests have to keep."""

from dataclasses import dataclass

__all__ = ["DynamoDeployment", "DynamoRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoDeployment:
    """The DynamoGraphDeployment that a pool is a component of: the one of its role, decode if agg.

    `caller_namespace` is the Dynamo namespace of the planner that asks for its replicas.
    """

    k8s_namespace: str
    name: str
    caller_namespace: str

    def __str__(self) -> str:
        return f"{self.k8s_namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoRules:
    """`min_total_gpus`: what Dynamo planners may not give back; None: they may give back all.

    A wish that has not been renewed for `intent_ttl_s` (wall seconds) asks for nothing more.
    """

    min_total_gpus: int | None = None
    intent_ttl_s: float = 360.0
