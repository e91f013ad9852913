"""What has changed from one fleet to another, in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from weir.domain.fleet import Budget, Fleet, PoolSpec, RequestClass

__all__ = ["budget_differences", "differences"]

_LONG = ("profile", "windows", "dynamo")
"""Fields that are told of without their values."""


def differences(before: Fleet, after: Fleet) -> Iterator[str]:
    """One line for each thing that differs; nothing if nothing does."""
    yield from budget_differences(before.budget, after.budget)
    for kind, was, now in (
        ("node group", _named(before.node_groups), _named(after.node_groups)),
        ("class", _named(before.classes), _named(after.classes)),
        ("pool", {str(p.id): p for p in before.pools}, {str(p.id): p for p in after.pools}),
    ):
        yield from _things(kind, was, now)
    if _named(before.models) != _named(after.models):
        yield f"models: {_names(before.models)} -> {_names(after.models)}"
    if [c.name for c in before.classes] != [c.name for c in after.classes] and (
        _named(before.classes).keys() == _named(after.classes).keys()
    ):
        yield "classes: in another order"
    if before.dynamo != after.dynamo:
        yield "dynamo: changed"


def budget_differences(before: Budget, after: Budget) -> Iterator[str]:
    """Of the GPUs alone."""
    if before.gpus != after.gpus:
        yield f"budget: {before.gpus} -> {after.gpus} GPUs"
    was, now = before.by_gpu_class, after.by_gpu_class
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            less, more = _number(was.get(name)), _number(now.get(name))
            yield f"budget of GPU class {name}: {less} -> {more}"
    if before.windows != after.windows:
        names = [window.name for window in after.windows]
        yield f"budget windows: {'; '.join(names) or 'none'}"


def _things(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is None:
            yield f"{kind} {name}: added{_kind_of(now)}"
        elif now is None:
            yield f"{kind} {name}: removed"
        elif was != now:
            yield f"{kind} {name}: {', '.join(_fields(was, now))}"


def _fields(was: Any, now: Any) -> Iterator[str]:
    if isinstance(was, RequestClass) and was.slo != now.slo:
        yield from _fields(was.slo, now.slo)
    for field in fields(was):
        old, new = getattr(was, field.name), getattr(now, field.name)
        if old == new or field.name == "slo":
            continue
        if field.name in _LONG:
            yield f"another {field.name}"
        else:
            yield f"{field.name} {_value(old)} -> {_value(new)}"


def _kind_of(thing: Any) -> str:
    if not isinstance(thing, PoolSpec):
        return ""
    size = f"{thing.gpus_per_replica} GPUs each"
    return f", {thing.role} of {thing.model}, {thing.min_replicas}..{thing.max_replicas} x {size}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(gpus: int | None) -> str:
    return "no limit" if gpus is None else f"{gpus} GPUs"


def _named(things: Sequence[Any]) -> dict[str, Any]:
    return {thing.name: thing for thing in things}


def _names(things: Sequence[Any]) -> str:
    return ", ".join(str(thing.name) for thing in things)
