"""What can go wrong, as one tree.

WeirError
├── FleetError                the Fleet document cannot be used; `problems` lists all of it
├── TraceError                a trace file cannot be read; names file and line
├── WorkloadError             a generated workload cannot be made as it is described
├── PlannerError
│   ├── InfeasibleFloorsError the pools' floors need more GPUs than the budget holds
│   ├── StaleTermError        a grant from a GlobalPlanner that no longer leads
│   └── UnknownError          something is named that is not there
│       ├── UnknownPoolError      a pool that this fleet does not have
│       ├── UnknownClassError     a request class that this fleet does not have
│       ├── UnknownDecisionError  a decision that is not kept (any more)
│       └── UnknownProposalError  a proposal that is not waiting (any more)
├── StaleRevisionError        somebody else has written a stored value first
├── CredentialsError          a key, certificate, token or identities file cannot be used
├── RequestError              the client's request cannot be served as it is (4xx)
└── UnavailableError          something this process needs does not answer (5xx, retry)

An ordinary refusal (a shed request, a pool that gets no GPU) is a result, not an exception.
"""

from collections.abc import Sequence

__all__ = [
    "CredentialsError",
    "FleetError",
    "InfeasibleFloorsError",
    "PlannerError",
    "RequestError",
    "StaleRevisionError",
    "StaleTermError",
    "TraceError",
    "UnavailableError",
    "UnknownClassError",
    "UnknownDecisionError",
    "UnknownError",
    "UnknownPoolError",
    "UnknownProposalError",
    "WeirError",
    "WorkloadError",
]


class WeirError(Exception):
    """Anything weir raises on purpose. The message says what, where, and what to mend."""


class FleetError(WeirError):
    """A Fleet document cannot be used. `problems` holds every finding, one line each."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = tuple(problems)


class TraceError(WeirError):
    """A trace file has a row that cannot be read."""

    def __init__(self, source: str, line: int, problem: str) -> None:
        super().__init__(f"{source}:{line}: {problem}")
        self.source = source
        self.line = line


class WorkloadError(WeirError):
    """A generated workload cannot be made as it is described."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source


class PlannerError(WeirError):
    """A planner refuses an input."""


class InfeasibleFloorsError(PlannerError):
    """The pools' floors need more GPUs, or watts, than the budget or another limit holds.

    Only a configuration change resolves it: lower a floor or raise the limit.
    """

    def __init__(
        self, *, needed: int, most: int, limit: str = "budget", unit: str = "GPUs"
    ) -> None:
        super().__init__(f"floors need {needed} {unit}, {limit} holds {most}")
        self.needed = needed
        self.most = most
        self.limit = limit
        self.unit = unit


class StaleTermError(PlannerError):
    """A grant carries a lower term than one already seen: its sender no longer leads."""

    def __init__(self, *, term: int, seen_term: int) -> None:
        super().__init__(f"grant of term {term} refused, term {seen_term} has been seen")
        self.term = term
        self.seen_term = seen_term


class UnknownError(PlannerError):
    """Something is named that this process does not have."""


class UnknownPoolError(UnknownError):
    """The Fleet document of this process does not have this pool."""

    def __init__(self, pool_id: str, known: Sequence[str] = ()) -> None:
        super().__init__(f"no pool {pool_id!r} in this fleet{_there_are(known)}")
        self.pool_id = pool_id


class UnknownClassError(UnknownError):
    """The Fleet document of this process does not have this request class."""

    def __init__(self, class_name: str, known: Sequence[str] = ()) -> None:
        super().__init__(f"no class {class_name!r} in this fleet{_there_are(known)}")
        self.class_name = class_name


class UnknownDecisionError(UnknownError):
    """There has been no such decision, or it is no longer kept."""

    def __init__(self, decision_id: str, known: Sequence[str] = ()) -> None:
        there_are = _there_are(known) or "; ids are TERM.NUMBER"
        super().__init__(f"no decision {decision_id!r} is kept here{there_are}")
        self.decision_id = decision_id


class UnknownProposalError(UnknownError):
    """The proposal has been decided on, has been overtaken, or never was."""

    def __init__(self, proposal_id: str) -> None:
        super().__init__(f"no proposal {proposal_id!r} waits for approval")
        self.proposal_id = proposal_id


class StaleRevisionError(WeirError):
    """A compare-and-set found another revision: somebody else wrote the key."""


class CredentialsError(WeirError):
    """A key, certificate, token or identities file cannot be used. Names it, never a secret."""


class RequestError(WeirError):
    """The client must change its request. `code` is the OpenAI error code, `param` the field."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


class UnavailableError(WeirError):
    """A process that is needed does not answer. Retrying later may help."""


def _there_are(known: Sequence[str], most: int = 20) -> str:
    """The first few; empty if there are none."""
    if not known:
        return ""
    left = len(known) - most
    return f"; there are {', '.join(known[:most])}" + (f" and {left} more" if left > 0 else "")
