"""Write examples/traces/airline_burst.csv: quiet, 200 users at once, quiet again.

Synthetic and deterministic. At 60 s, 200 users ask within half a second; until 122 s they ask again
and again, each prompt longer by the conversation so far; before and after there is a request
every second or two. Lengths are those of an assistant: a system prompt with the booking
(some 1,300 tokens), a question, an answer of about 100 tokens.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from weir.workload import TraceRequest, write_trace

TARGET = Path(__file__).resolve().parent.parent / "examples/traces/airline_burst.csv"
LENGTH_S, BURST_S, QUIET_S = 240.0, 60.0, 122.0
USERS, FOLLOW_UPS = 200, 370
QUIET_RPS = 0.8


def main() -> None:
    generator = random.Random(20)
    requests = [*_quiet(generator), *_first_questions(generator), *_follow_ups(generator)]
    write_trace(TARGET, sorted(requests, key=lambda request: request.timestamp_s))


def _quiet(generator: random.Random) -> Iterator[TraceRequest]:
    at_s = 0.5
    while at_s < LENGTH_S:
        if not BURST_S <= at_s < QUIET_S:
            yield _request(generator, at_s, turn=generator.choice((0, 0, 0, 1, 1, 2)))
        at_s += min(4.0, generator.expovariate(QUIET_RPS))


def _first_questions(generator: random.Random) -> Iterator[TraceRequest]:
    for _ in range(USERS):
        yield _request(generator, BURST_S + generator.uniform(0.0, 0.5), turn=0)


def _follow_ups(generator: random.Random) -> Iterator[TraceRequest]:
    first_s = BURST_S + 2.0
    step_s = (QUIET_S - first_s) / FOLLOW_UPS
    for index in range(FOLLOW_UPS):
        turn = 1 + (index >= USERS * 0.9)
        yield _request(generator, first_s + step_s * (index + generator.random()), turn=turn)


def _request(generator: random.Random, at_s: float, *, turn: int) -> TraceRequest:
    """A user's question number `turn`, with all that was said before."""
    isl_tokens = 1300 + round(generator.gammavariate(4.0, 50.0)) + 400 * turn
    osl_tokens = min(200, 60 + round(generator.gammavariate(3.0, 15.0)))
    return TraceRequest(timestamp_s=round(at_s, 3), isl_tokens=isl_tokens, osl_tokens=osl_tokens)


if __name__ == "__main__":
    main()
