"""How well lengths are known before they are: prompts from bytes, outputs from those before.

    python -m tests.benchmarks.bench_lengths [--traces DIR] [--tokenizer SOURCE] [--json]

Outputs: each trace is replayed, every output running at 30 ms per token, and what is expected of
each request is compared with what comes. Prompts: texts in five languages and code are counted by
real tokenizers (`tokenizer.json` files or `tiktoken:ENCODING`; by default one trained here).
"""

import argparse
import csv
import gzip
import json
import random
import time
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from router.core.lengths.lifetable import Expected, beyond
from router.core.lengths.outputs import OutputLengths, shape_of
from router.core.lengths.prompts import PromptLengths
from tests.benchmarks.texts import Counter, Texts, counter
from weir.domain.ids import ModelName

__all__ = ["main", "measure_outputs", "measure_prompts"]

_TRACES = Path(__file__).parents[2] / "examples/traces"
_REQUESTS = 20_000
_ITL_S = 0.030
_LOOK_S, _LOOKED_AT = 1.0, 256
_BORDERS = (128, 512)
_FIRST_S = 120.0
_BATCH = 32
_PRIOR_TOKENS = 256.0
_MODEL = ModelName("m")
_TEMPLATE_TOKENS = 12
_PROMPTS = 1500
_LEARNED = 100

_Row = tuple[float, int, int, str]
"""Arrival, ISL, OSL, tenant."""


def read(path: Path, requests: int) -> list[_Row]:
    """The trace's beginning; its column `class`, if it has one, is the tenant."""
    rows: list[_Row] = []
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for row in csv.DictReader(lines):
            if len(rows) == requests or "osl" not in row:
                break
            tenant = row.get("class") or ""
            rows.append((float(row["timestamp_s"]), int(row["isl"]), int(row["osl"]), tenant))
    return rows


class Replay:
    """The same calls in the same order as the router makes them, `look` or not."""

    def __init__(self, rows: Sequence[_Row], *, look: bool) -> None:
        self._rows = rows
        self._look = look
        self._outputs = OutputLengths(_PRIOR_TOKENS)
        self._ends: list[tuple[float, int]] = []
        self._running: dict[int, int] = {}
        self._look_at_s: dict[int, float] = {}
        self._look_s = self._looked_s = 0.0
        self._to_look_at: list[int] = []
        self._held_s = 0.0
        self.expected: list[Expected] = []
        self.held: list[tuple[float, float, float]] = []
        """At moments, of workers in turn: tokens put out, expected to be, and reserved."""

    def run(self) -> float:
        """Microseconds of CPU per request."""
        began = time.process_time()
        for number, (at_s, isl, _, tenant) in enumerate(self._rows):
            self._end_until(at_s)
            if self._look:
                self._look_at_running(at_s)
            shape = shape_of(_MODEL, isl, None)
            self.expected.append(self._outputs.expect(shape, tenant, None))
            self._running[number] = 0
            self._look_at_s[number] = at_s + _LOOK_S
            heappush(self._ends, (at_s + self._rows[number][2] * _ITL_S, number))
            if at_s >= self._held_s:
                self._held_s = at_s + 5.0
                self._hold(at_s)
        return (time.process_time() - began) / max(1, len(self._rows)) * 1e6

    def _end_until(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            number = heappop(self._ends)[1]
            _, isl, osl, tenant = self._rows[number]
            shape = shape_of(_MODEL, isl, None)
            self._outputs.ended(shape, tenant, osl, self._running.pop(number))
            del self._look_at_s[number]

    def _look_at_running(self, now_s: float) -> None:
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            oldest = islice(self._running, _LOOKED_AT)
            self._to_look_at = [n for n in oldest if self._look_at_s[n] <= now_s]
            self._to_look_at.reverse()
        part_s = min(_LOOK_S, now_s - self._looked_s)
        self._looked_s = now_s
        for _ in range(min(len(self._to_look_at), 1 + int(_LOOKED_AT * part_s / _LOOK_S))):
            self._look_at_one(self._to_look_at.pop(), now_s)

    def _look_at_one(self, number: int, now_s: float) -> None:
        passed = self._running.get(number)
        if passed is None:
            return
        at_s, isl, _, tenant = self._rows[number]
        shape, so_far = shape_of(_MODEL, isl, None), (now_s - at_s) / _ITL_S
        passed = self._outputs.has_passed(shape, tenant, so_far, passed)
        self._running[number] = passed
        self._look_at_s[number] = at_s + beyond(passed) * _ITL_S

    def _hold(self, now_s: float) -> None:
        numbers = list(self._running)
        workers = len(numbers) // _BATCH
        for worker in range(workers):
            batch = numbers[worker::workers]
            put_out = sum((now_s - self._rows[n][0]) / _ITL_S for n in batch)
            means = sum(self.expected[n].held_tokens for n in batch)
            squares = [
                (self.expected[n].most_tokens - self.expected[n].held_tokens) ** 2 for n in batch
            ]
            self.held.append((put_out, means, means + float(np.sqrt(sum(squares)))))


def measure_outputs(rows: Sequence[_Row]) -> dict[str, float]:
    """Shares, but for `us_per_request` and ratios to what came; `blind`: without looking."""
    replay, blind = Replay(rows, look=True), Replay(rows, look=False)
    cpu_us = replay.run()
    blind.run()
    osl = np.array([row[2] for row in rows])
    early = np.array([row[0] for row in rows]) < rows[0][0] + _FIRST_S

    def of(name: str, replayed: Replay = replay) -> Any:
        return np.array([getattr(expected, name) for expected in replayed.expected])

    def right(guess: Any) -> float:
        return float(np.mean(np.digitize(guess, _BORDERS) == np.digitize(osl, _BORDERS)))

    classes = np.bincount(np.digitize(osl, _BORDERS))
    return {
        "requests": len(rows),
        "us_per_request": cpu_us,
        "within_90": float(np.mean(osl <= of("most_tokens"))),
        "within_50": float(np.mean(osl <= of("typical_tokens"))),
        "within_90_first_minutes": float(np.mean((osl <= of("most_tokens"))[early])),
        "within_90_first_minutes_blind": float(np.mean((osl <= of("most_tokens", blind))[early])),
        "mean_over_actual": float(of("mean_tokens").sum() / osl.sum()),
        "mean_over_actual_blind": float(of("mean_tokens", blind).sum() / osl.sum()),
        "class_by_median": right(of("typical_tokens")),
        "class_by_mean": right(of("mean_tokens")),
        "class_always_the_same": float(classes.max() / classes.sum()),
        "batches": len(replay.held),
        **_of_batches(replay.held),
    }


def _of_batches(held: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    """Nothing where fewer run than one batch holds."""
    if not held:
        return {}
    put_out, means, reserved = np.array(held).T
    return {
        "held_over_actual": float(means.sum() / put_out.sum()),
        "batches_within_means": float(np.mean(put_out <= means)),
        "batches_within_reserved": float(np.mean(put_out <= reserved)),
        "reserved_over_actual": float(reserved.sum() / put_out.sum()),
    }


def measure_prompts(texts: Texts, count: Counter, *, tenants: bool) -> dict[str, float]:
    """Errors over what an engine counts; `fixed`: 4 bytes per token, nothing learned."""
    rng = random.Random(7)
    prompts = PromptLengths(4.0)
    errors, fixed, within, excess = [], [], [], 0.0
    for number in range(_PROMPTS):
        kind = rng.choice(texts.kinds)
        tenant = kind if tenants else ""
        text = texts.make(kind, int(2 ** rng.uniform(6.0, 14.0)), rng)
        size, tokens = len(text.encode()), count(text) + _TEMPLATE_TOKENS
        estimate, doubt = prompts.estimate(_MODEL, tenant, size), prompts.doubt(_MODEL, tenant)
        prompts.observe(
            _MODEL, tenant, prompt_bytes=size, prompt_tokens=tokens, estimated_tokens=estimate
        )
        if number >= _LEARNED:
            errors.append(abs(estimate - tokens) / tokens)
            fixed.append(abs(size / 4.0 - tokens) / tokens)
            within.append(errors[-1] <= doubt)
            excess += (estimate - tokens) / tokens
    return {
        "error_mean": float(np.mean(errors)),
        "error_p90": float(np.quantile(errors, 0.9)),
        "error_fixed": float(np.mean(fixed)),
        "bias": excess / len(errors),
        "within_doubt": float(np.mean(within)),
        "template_tokens": prompts.template_tokens(_MODEL),
    }


def _traces(folder: Path, requests: int) -> Iterator[tuple[str, list[_Row]]]:
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        rows = read(path, requests)
        if rows:
            yield path.name.split(".")[0], rows
            if any(row[3] for row in rows):
                plain = [(at_s, isl, osl, "") for at_s, isl, osl, _ in rows]
                yield f"{path.name.split('.')[0]}, tenants unknown", plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, default=_TRACES, metavar="DIR")
    parser.add_argument("--requests", type=int, default=_REQUESTS, help="of each trace, at most")
    parser.add_argument("--tokenizer", action="append", default=[], metavar="SOURCE")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts = Texts()
    isl: dict[str, dict[str, float]] = {}
    for source in args.tokenizer or ["trained"]:
        count = counter(source, texts)
        if count is None:
            continue  # Without the extra `tokenizers` there is nothing to compare with.
        for tenants in (True, False):
            name = f"{Path(source).stem}{'' if tenants else ', tenants unknown'}"
            isl[name] = measure_prompts(texts, count, tenants=tenants)
    osl = {name: measure_outputs(rows) for name, rows in _traces(args.traces, args.requests)}
    if args.json:
        print(json.dumps({"isl": isl, "osl": osl}))
        return
    for title, measured in (("prompts", isl), ("outputs", osl)):
        for name, figures in measured.items():
            print(f"{title}, {name}")
            for key, value in figures.items():
                print(f"  {key:32} {value:10.3f}")


if __name__ == "__main__":
    main()
