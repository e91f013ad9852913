"""The plane of ISL x OSL: what classes that go by lengths cover, which can never match.

The plane is cut at every bound of every class; inside a cell all requests are alike.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, product

from weir.domain.fleet import RequestClass, TokenRange
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Tree

__all__ = ["coverage_findings"]

Cell = tuple[TokenRange, TokenRange]


def coverage_findings(classes: Sequence[RequestClass], tree: Tree) -> Iterator[Finding]:
    """Classes that earlier ones leave nothing for, odd overlaps, requests of no class."""
    isl_spans = _spans([item.isl_tokens for item in classes])
    osl_spans = _spans([item.osl_tokens for item in classes])
    free = set(product(isl_spans, osl_spans))
    for index, item in enumerate(classes):
        if not item.by_length:
            continue
        own = {cell for cell in free if _holds(item, cell)}
        if not own:
            message = "never matches: the classes before it take all of its requests"
            yield at(tree, ("spec", "classes", index), message)
        free -= own
    yield from _crossings(classes, tree)
    if free:
        yield _gap([item for item in classes if item.by_length], free, tree)


def _spans(ranges: Sequence[TokenRange]) -> list[TokenRange]:
    """The axis from 1 token on, cut at every bound."""
    bounds = {1, *(max(1, span.low) for span in ranges)}
    bounds |= {span.high for span in ranges if span.high is not None and span.high > 1}
    cuts: list[int | None] = [*sorted(bounds), None]
    return [TokenRange(low=low, high=high) for low, high in pairwise(cuts) if low is not None]


def _holds(item: RequestClass, cell: Cell) -> bool:
    return cell[0].low in item.isl_tokens and cell[1].low in item.osl_tokens


def _crossings(classes: Sequence[RequestClass], tree: Tree) -> Iterator[Finding]:
    """Pairs that share requests though neither holds the other: a slip more often than not."""
    by_length = [(index, item) for index, item in enumerate(classes) if item.by_length]
    for (_, first), (index, second) in combinations(by_length, 2):
        overlap = _meet(first.isl_tokens, second.isl_tokens) and _meet(
            first.osl_tokens, second.osl_tokens
        )
        if overlap and not _within(first, second) and not _within(second, first):
            message = f"overlaps {first.name!r} in part; what both hold is {first.name!r}"
            yield at(tree, ("spec", "classes", index), message, level=Level.WARNING)


def _meet(one: TokenRange, other: TokenRange) -> bool:
    return (one.high is None or other.low < one.high) and (
        other.high is None or one.low < other.high
    )


def _within(inner: RequestClass, outer: RequestClass) -> bool:
    spans = ((inner.isl_tokens, outer.isl_tokens), (inner.osl_tokens, outer.osl_tokens))
    return all(
        max(1, whole.low) <= max(1, part.low)
        and (whole.high is None or (part.high is not None and part.high <= whole.high))
        for part, whole in spans
    )


def _gap(classes: Sequence[RequestClass], free: set[Cell], tree: Tree) -> Finding:
    isl_span, osl_span = min(free, key=lambda cell: (cell[0].low, cell[1].low))
    message = (
        f"no class holds requests of ISL {_show(isl_span)} and OSL {_show(osl_span)}"
        f"{' and others' if len(free) > 1 else ''}; they count as {classes[-1].name!r}, the last"
    )
    return at(tree, ("spec", "classes"), message, level=Level.WARNING)


def _show(span: TokenRange) -> str:
    return f"{span.low} and more" if span.high is None else f"{span.low} to {span.high - 1}"
