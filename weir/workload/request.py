"""One request of a trace."""

from dataclasses import dataclass

from weir.domain.ids import ClassName

__all__ = ["TraceRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One request of a trace; what the trace does not say is None."""

    timestamp_s: float
    isl_tokens: int
    osl_tokens: int
    class_name: ClassName | None = None
    tenant: str | None = None
    reuse_tokens: int | None = None
