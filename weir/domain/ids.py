"""Names of things, so that a pool is not passed where a worker is meant."""

from typing import NewType

__all__ = ["ClassName", "ModelName", "PoolId", "RouterId", "WorkerId"]

PoolId = NewType("PoolId", str)
WorkerId = NewType("WorkerId", str)
ClassName = NewType("ClassName", str)
ModelName = NewType("ModelName", str)
RouterId = NewType("RouterId", str)
