"""Workloads: request traces, their rate, and prompts to replay them with."""

from weir.workload.prompts import prompt_of
from weir.workload.rate import scale_rate
from weir.workload.trace import TraceRequest, read_trace, write_trace

__all__ = ["TraceRequest", "prompt_of", "read_trace", "scale_rate", "write_trace"]
