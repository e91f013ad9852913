"""What a report must look like before anything is believed of it."""

from weir.domain.planning import PoolReport

__all__ = ["check_report"]

_MOST = 1e9
_MOST_CLASSES = 1000
_MOST_SEQUENCE = 10**16
"""Sequences begin with milliseconds since 1970; a much larger one would silence the pool."""


def check_report(report: PoolReport) -> None:
    """Raises `ValueError` naming the field that is out of all proportion.

    That numbers are finite and not negative is seen to where messages are decoded.
    """
    numbers = {
        "capacity_rel_std": report.capacity_rel_std,
        "backlog_replica_s": report.backlog_replica_s or 0.0,
        "start_up_s": report.start_up_s,
        **{f"capacity_rps[{name}]": rate for name, rate in report.capacity_rps.items()},
        **{f"load[{load.name}].rate_high_rps": load.rate_high_rps for load in report.load},
        **{f"load[{load.name}].rate_rps": load.rate_rps for load in report.load},
    }
    for name, number in numbers.items():
        if number > _MOST:
            raise ValueError(f"{name} must be at most {_MOST:g}, not {number:g}")
    if report.sequence > _MOST_SEQUENCE:
        raise ValueError(f"sequence must be at most {_MOST_SEQUENCE}, not {report.sequence}")
    if len(report.capacity_rps) > _MOST_CLASSES:
        raise ValueError(f"capacity_rps names more than {_MOST_CLASSES} classes")
    named = [load.name for load in report.load]
    if len(named) != len(set(named)):
        raise ValueError(f"load names a class twice: {', '.join(sorted(named))}")
