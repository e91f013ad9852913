"""`weir up`: a whole fleet as processes on this machine."""

import os

__all__: list[str] = []

# This process forks while gRPC has threads. Its children do nothing but exec, so gRPC need not
# prepare for a fork, and need not warn at each that it cannot. It looks when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
