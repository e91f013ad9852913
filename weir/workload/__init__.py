"""Workloads: request traces and generated requests, their rate, clients, and prompts."""

from weir.workload.clients import ClientBehaviour
from weir.workload.columns import TraceColumns, read_columns
from weir.workload.draws import generator_of
from weir.workload.generators import Burst, bursty, constant, poisson
from weir.workload.lengths import Lengths, drawn_lengths, fixed_lengths, lognormal_lengths
from weir.workload.prompts import prompt_of
from weir.workload.rate import superpose
from weir.workload.recipe import workload_of
from weir.workload.request import TraceRequest
from weir.workload.trace import read_trace, write_trace

__all__ = [
    "Burst",
    "ClientBehaviour",
    "Lengths",
    "TraceColumns",
    "TraceRequest",
    "bursty",
    "constant",
    "drawn_lengths",
    "fixed_lengths",
    "generator_of",
    "lognormal_lengths",
    "poisson",
    "prompt_of",
    "read_columns",
    "read_trace",
    "superpose",
    "workload_of",
    "write_trace",
]
