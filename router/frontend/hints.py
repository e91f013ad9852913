"""What a client says of its request besides the request: headers, and `nvext` in the body.

A hint that cannot be used is left out and reported, and never fails its request. Of several
names for one thing the first that can be used counts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

__all__ = ["EXPLAIN", "HINT_HEADERS", "NO_HINTS", "Hints", "Ignored", "read_hints"]

EXPLAIN = b"x-weir-explain"

_MAX_TENANT_CHARS = 128
_SESSION = re.compile(rb"[!-~]{1,256}")
_MOST_MS = 1e9
_MOST_TOKENS = 10_000_000
_MOST_PRIORITY = 2**31 - 1
_NUMBER = re.compile(rb"[+-]?\d{1,12}(\.\d{1,12})?")
_WHOLE = re.compile(rb"[+-]?\d{1,12}")
_CLASS_NAME = re.compile(rb"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_MODEL_NAME = re.compile(rb"[!-~]{1,256}")


class Ignored(StrEnum):
    """Why a hint is not followed."""

    MALFORMED = "malformed"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN = "unknown"
    """There is no hint, class or model of this name."""

    NOT_ALLOWED = "not_allowed"
    """It asks for more than the Fleet document allows, and gets as much as that."""


@dataclass(slots=True)
class Hints:
    """Fields as in `RequestProfile`; `model` is to be asked for instead of the body's.

    `sources`: by field, the name of the hint that it comes from. `ignored`: name and why.
    """

    tenant: str = ""
    model: str = ""
    asked_class: str = ""
    ttft_s: float | None = None
    itl_s: float | None = None
    osl_hint_tokens: int | None = None
    priority: int | None = None
    tier: int | None = None
    session: str = ""
    explain: bool = False
    sources: dict[str, str] = field(default_factory=dict)
    ignored: list[tuple[str, Ignored]] = field(default_factory=list)

    def ignore(self, of_field: str, why: Ignored) -> None:
        """Go on as if the hint were not there."""
        self.ignored.append((self.sources.pop(of_field), why))
        setattr(self, of_field, getattr(NO_HINTS, of_field))

    def deny(self, of_fields: Iterable[str]) -> None:
        """These ask for more than they get; fields without a hint are left out."""
        sources = (self.sources.get(each) for each in of_fields)
        self.ignored += [(name, Ignored.NOT_ALLOWED) for name in sources if name is not None]


NO_HINTS = Hints()

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Source(Generic[_T]):
    """One name of a hint: a header, or a key of `nvext.router` or `nvext.agent_hints`."""

    name: str
    read: Callable[[_T], Any]
    """The value, or why there is none."""


def read_hints(headers: Mapping[bytes, bytes], data: Mapping[str, Any]) -> Hints:
    """From a request's headers (names in lower case) and its body as parsed."""
    hints = Hints()
    found = [header for header in headers if header in _HEADERS]
    if len(found) > 1:
        found.sort(key=_ORDER.__getitem__)
    for header in found:
        of_field, source = _HEADERS[header]
        if of_field not in hints.sources:
            _take(hints, of_field, source, headers[header].strip())
    nvext = data.get("nvext")
    if isinstance(nvext, dict):
        for section, known in _SECTIONS.items():
            _read_section(hints, section, known, nvext.get(section))
    elif nvext is not None:
        hints.ignored.append(("nvext", Ignored.MALFORMED))
    return hints


def _read_section(
    hints: Hints, section: str, known: "Mapping[str, _Named]", values: object
) -> None:
    where = f"nvext.{section}"
    if values is None:
        return
    if not isinstance(values, dict):
        hints.ignored.append((where, Ignored.MALFORMED))
        return
    for key, value in values.items():
        found = known.get(key)
        if found is None:
            hints.ignored.append((where, Ignored.UNKNOWN))
        elif value is not None and found[0] not in hints.sources:
            _take(hints, found[0], found[1], value)


def _take(hints: Hints, of_field: str, source: _Source[Any], given: object) -> None:
    value = source.read(given)
    if isinstance(value, Ignored):
        hints.ignored.append((source.name, value))
    else:
        setattr(hints, of_field, value)
        hints.sources[of_field] = source.name


# --- values of headers -------------------------------------------------------------------


def _header_seconds(value: bytes) -> float | Ignored:
    if not _NUMBER.fullmatch(value):
        return Ignored.MALFORMED
    value_ms = float(value)
    return value_ms / 1e3 if 0.0 < value_ms <= _MOST_MS else Ignored.OUT_OF_RANGE


def _header_priority(value: bytes) -> int | Ignored:
    return _priority(int(value)) if _WHOLE.fullmatch(value) else Ignored.MALFORMED


def _header_tenant(value: bytes) -> str | Ignored:
    return value.decode("latin-1")[:_MAX_TENANT_CHARS] or Ignored.MALFORMED


def _header_session(value: bytes) -> str | Ignored:
    return value.decode() if _SESSION.fullmatch(value) else Ignored.MALFORMED


def _header_class(value: bytes) -> str | Ignored:
    return value.decode() if _CLASS_NAME.fullmatch(value) else Ignored.MALFORMED


def _header_model(value: bytes) -> str | Ignored:
    return value.decode() if _MODEL_NAME.fullmatch(value) else Ignored.MALFORMED


def _header_flag(value: bytes) -> bool | Ignored:
    return _FLAGS.get(value.lower(), Ignored.MALFORMED)


_FLAGS: dict[bytes, bool | Ignored] = {b"1": True, b"true": True, b"0": False, b"false": False}


# --- values of the body ------------------------------------------------------------------


def _json_seconds(value: object) -> float | Ignored:
    """0 is the tightest target: the first column of a grid."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return Ignored.MALFORMED
    return value / 1e3 if 0.0 <= value <= _MOST_MS else Ignored.OUT_OF_RANGE


def _json_tokens(value: object) -> int | Ignored:
    if not isinstance(value, int) or isinstance(value, bool):
        return Ignored.MALFORMED
    return value if 1 <= value <= _MOST_TOKENS else Ignored.OUT_OF_RANGE


def _json_priority(value: object) -> int | Ignored:
    if not isinstance(value, int) or isinstance(value, bool):
        return Ignored.MALFORMED
    return _priority(value)


def _json_tier(value: object) -> int | Ignored:
    if not isinstance(value, int) or isinstance(value, bool):
        return Ignored.MALFORMED
    return value if 0 <= value <= _MOST_PRIORITY else Ignored.OUT_OF_RANGE


def _priority(value: int) -> int | Ignored:
    """A larger hint is more urgent, a larger `RequestProfile.priority` is less."""
    return -value if -_MOST_PRIORITY <= value <= _MOST_PRIORITY else Ignored.OUT_OF_RANGE


# --- names -------------------------------------------------------------------------------


_Named = tuple[str, _Source[Any]]
"""The field, and where it comes from."""


def _headers(of_field: str, read: Callable[[bytes], Any], *names: str) -> dict[bytes, _Named]:
    return {name.encode(): (of_field, _Source(name, read)) for name in names}


_HEADERS: dict[bytes, _Named] = {
    **_headers(
        "tenant",
        _header_tenant,
        "x-llm-d-inference-fairness-id",
        "x-gateway-inference-fairness-id",
    ),
    **_headers(
        "asked_class",
        _header_class,
        "x-llm-d-inference-objective",
        "x-gateway-inference-objective",
    ),
    **_headers(
        "model", _header_model, "x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"
    ),
    **_headers("ttft_s", _header_seconds, "x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"),
    **_headers("itl_s", _header_seconds, "x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"),
    **_headers("priority", _header_priority, "x-dynamo-request-priority"),
    **_headers("session", _header_session, "x-session-id"),
    **_headers("explain", _header_flag, EXPLAIN.decode()),
}
_ORDER = {name: index for index, name in enumerate(_HEADERS)}

HINT_HEADERS = frozenset(_HEADERS)
"""Without any of these, and without `nvext` in the body, there are no hints."""

_SECTIONS: dict[str, dict[str, _Named]] = {
    "router": {
        "ttft_target": ("ttft_s", _Source("nvext.router.ttft_target", _json_seconds)),
        "itl_target": ("itl_s", _Source("nvext.router.itl_target", _json_seconds)),
    },
    "agent_hints": {
        "priority": ("priority", _Source("nvext.agent_hints.priority", _json_priority)),
        "strict_priority": ("tier", _Source("nvext.agent_hints.strict_priority", _json_tier)),
        "osl": ("osl_hint_tokens", _Source("nvext.agent_hints.osl", _json_tokens)),
    },
}
