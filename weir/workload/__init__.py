"""Workloads: request traces, their rate, and prompts to replay them with."""

from weir.workload.clients import ClientBehaviour
from weir.workload.columns import TraceColumns, read_columns
from weir.workload.prompts import prompt_of
from weir.workload.rate import superpose
from weir.workload.request import TraceRequest
from weir.workload.trace import read_trace, write_trace

__all__ = [
    "ClientBehaviour",
    "TraceColumns",
    "TraceRequest",
    "prompt_of",
    "read_columns",
    "read_trace",
    "superpose",
    "write_trace",
]
