"""What engines show at /metrics, as samples of windows between two looks.

They cannot tell everything: how long iterations took none of them says, and so that stays
unknown. The prompt tokens that wait are told by the number of prompts that wait times their
mean length.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from poolplanner.core.buckets import MOST, increase
from poolplanner.core.engine_names import ENGINES, NAMES, EngineNames
from weir.domain.ids import PoolId, WorkerId
from weir.domain.telemetry import ForwardPassSample

__all__ = ["Page", "Reading", "page_of", "reading", "sample_between"]

Page = Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]
"""Labels and value of each sample, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One engine's state and totals; what it does not show is None or is not there."""

    running: int
    waiting: int
    kv_used_tokens: int | None = None
    kv_total_tokens: int | None = None
    block_tokens: float | None = None
    accept_length: float | None = None
    totals: Mapping[str, float] = field(default_factory=dict)


def page_of(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Page:
    """Samples by name, those left out that nobody reads or that are no numbers."""
    page: dict[str, tuple[tuple[Mapping[str, str], float], ...]] = {}
    for name, labels, value in samples:
        if name in NAMES and abs(value) <= MOST:
            page[name] = (*page.get(name, ()), (labels, value))
    return page


def reading(page: Page) -> Reading | None:
    """What the page says; None if it is of no engine that is known."""
    for engine in ENGINES:
        running, waiting = _sum(page, engine.running), _sum(page, engine.waiting)
        if running is not None and waiting is not None:
            return _reading(page, engine, running, waiting)
    return None


def sample_between(
    before: Reading | None,
    after: Reading,
    *,
    pool_id: PoolId,
    worker_id: WorkerId,
    sequence: int,
    window_s: float,
) -> ForwardPassSample:
    """The window that ended with `after`; without `before` only how things stand."""

    def gain(name: str) -> float | None:
        if before is None or name not in after.totals:
            return None
        return increase(before.totals.get(name), after.totals[name])

    cached = gain("cached")
    blocks = gain("cached_blocks")
    if cached is None and blocks is not None and after.block_tokens is not None:
        cached = blocks * after.block_tokens
    prompt = gain("prompt")
    prefill = prompt
    if prompt is not None and cached is not None:
        cached = min(cached, prompt)
        prefill = prompt - cached
    return ForwardPassSample(
        pool_id=pool_id,
        worker_id=worker_id,
        sequence=sequence,
        window_s=window_s,
        running=after.running,
        waiting=after.waiting,
        iterations=_whole(gain("iterations")),
        prefill_tokens=_whole(prefill),
        decode_tokens=_whole(gain("generated")),
        waiting_tokens=_waiting_tokens(after),
        kv_used_tokens=after.kv_used_tokens,
        kv_total_tokens=after.kv_total_tokens,
        preemptions=_whole(gain("preemptions")),
        completed=_whole(gain("completed")),
        cached_tokens=_whole(cached),
        accept_length=_accept_length(after, gain("accepted"), gain("drafts")),
    )


def _reading(page: Page, engine: EngineNames, running: float, waiting: float) -> Reading:
    total, block_tokens = _kv_space(page, engine)
    usage = _mean(page, engine.usage)
    used = None if total is None or usage is None else min(1.0, max(0.0, usage)) * total
    names = {
        "prompt": engine.prompt,
        "cached": engine.cached,
        "cached_blocks": engine.cached_blocks,
        "generated": engine.generated,
        "iterations": engine.iterations,
        "preemptions": engine.preemptions,
        "completed": engine.completed,
        "lengths": engine.prompt_lengths[:1] if engine.prompt_lengths else (),
        "prompts": engine.prompt_lengths[1:] if engine.prompt_lengths else (),
        "accepted": engine.accepted[:1] if engine.accepted else (),
        "drafts": engine.accepted[1:] if engine.accepted else (),
    }
    totals = {key: _sum(page, known) for key, known in names.items()}
    return Reading(
        running=round(max(0.0, running)),
        waiting=round(max(0.0, waiting)),
        kv_used_tokens=_whole(used),
        kv_total_tokens=_whole(total),
        block_tokens=block_tokens,
        accept_length=_mean(page, engine.accept_length),
        totals={key: max(0.0, value) for key, value in totals.items() if value is not None},
    )


def _kv_space(page: Page, engine: EngineNames) -> tuple[float | None, float | None]:
    """All KV tokens, and those of one block."""
    total, block_tokens = _sum(page, engine.total), None
    if engine.blocks is not None:
        blocks, block_tokens = _sum(page, engine.blocks[:1]), _mean(page, engine.blocks[1:])
        if total is None and blocks is not None and block_tokens is not None:
            total = blocks * block_tokens
    if total is None and engine.blocks_in is not None:
        name, of_blocks, of_tokens = engine.blocks_in
        spaces = [
            (_number(labels.get(of_blocks)), _number(labels.get(of_tokens)))
            for labels, _ in page.get(name, ())
        ]
        known = [
            blocks * each for blocks, each in spaces if blocks is not None and each is not None
        ]
        total = sum(known) if known and len(known) == len(spaces) else None
    return (total if total is not None and total > 0.0 else None), block_tokens


def _waiting_tokens(after: Reading) -> int | None:
    if not after.waiting:
        return 0
    tokens, prompts = after.totals.get("lengths"), after.totals.get("prompts")
    return _whole(after.waiting * tokens / prompts) if tokens is not None and prompts else None


def _accept_length(after: Reading, accepted: float | None, drafts: float | None) -> float | None:
    """Of the window where drafts are counted; 0 is how engines say that they do not speculate."""
    if accepted is not None and drafts:
        return 1.0 + accepted / drafts
    known = after.accept_length
    return known if known is not None and known >= 1.0 else None


def _values(page: Page, names: Iterable[str]) -> list[float]:
    for name in names:
        if name in page:
            return [value for _, value in page[name]]
    return []


def _sum(page: Page, names: Iterable[str]) -> float | None:
    values = _values(page, names)
    return sum(values) if values else None


def _mean(page: Page, names: Iterable[str]) -> float | None:
    values = _values(page, names)
    return sum(values) / len(values) if values else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if 0.0 <= value <= MOST else None


def _whole(value: float | None) -> int | None:
    return round(value) if value is not None and value <= MOST else None
