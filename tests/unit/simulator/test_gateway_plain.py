"""The plain gateway, to which one replica of each pool is given unless the test says otherwise.

Prompts take a millisecond a token; every token of an output takes 20 ms.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Rows, scenario
from weir.domain.ids import PoolId
from weir.simulator.call import Call, End
from weir.simulator.gateway.plain import PlainGateway
from weir.simulator.gateway.port import Gateway
from weir.simulator.homes import homes_of
from weir.simulator.world import World

PREFILL, DECODE = PoolId("prefill"), PoolId("decode")
CAPS = {PREFILL: 1000.0, DECODE: 1.0}


class Capped:
    """So many replicas; a prefill replica takes 1,000 tokens at once, a decode replica a call."""

    def __init__(self, prefill: int = 1, decode: int = 1) -> None:
        self._sizes = {PREFILL: prefill, DECODE: decode}

    def gateway(self, world: World) -> Gateway:
        homes = homes_of(world.fleet, world.fleet.models[0].name)
        self.front = PlainGateway(world, homes, lambda replica: CAPS[replica.pool_id])
        return self.front

    def start(self, world: World) -> None:
        self.front.attach()
        for pool_id, count in self._sizes.items():
            world.cluster.place(pool_id, count)


Script = Callable[[World], None]


def _run(
    folder: Path, rows: Rows, policy: Capped, script: Script | None = None, *sets: str
) -> list[tuple[Call, End, float]]:
    """Calls in the order of their ends, how and when each ended."""
    world = World(scenario(folder, rows, *sets, to_s=100.0), policy)
    ended: list[tuple[Call, End, float]] = []
    world.on_end.append(lambda call, end: ended.append((call, end, world.now_s)))
    if script is not None:
        script(world)
    world.run()
    assert world.invariants.violations == []
    return ended


def test_who_finds_no_room_waits_in_line(tmp_path: Path) -> None:
    # Prefilled at 0.1 s and, two at once, at 0.3 s; 20 tokens are 0.4 s.
    rows = [(0.0, 100, 20), (0.001, 100, 20), (0.002, 100, 20)]
    ended = _run(tmp_path, rows, Capped())
    assert [call.id for call, _, _ in ended] == [0, 1, 2]
    assert [at_s for _, _, at_s in ended] == pytest.approx([0.5, 0.9, 1.3], abs=0.02)


def test_prompts_that_wait_are_let_in_when_one_is_done(tmp_path: Path) -> None:
    # The third has no room beside 1,400 tokens until the first is prefilled.
    rows = [(0.0, 700, 1), (0.001, 700, 1), (0.002, 700, 1)]
    ended = _run(tmp_path, rows, Capped(decode=3))
    assert [at_s for _, _, at_s in ended] == pytest.approx([0.72, 1.42, 2.12], abs=0.03)


def test_the_least_loaded_replica_is_next(tmp_path: Path) -> None:
    rows = [(0.0, 900, 1), (0.001, 300, 1), (0.002, 300, 1)]
    ended = _run(tmp_path, rows, Capped(prefill=2, decode=3))
    places = {call.id: call.prefill for call, _, _ in ended}
    assert places[0] is not places[1]
    assert places[1] is places[2]


def test_who_has_waited_too_long_is_shed(tmp_path: Path) -> None:
    # 100 s of tokens in front of the second, of which it waits for one
    rows = [(0.0, 100, 5000), (0.5, 100, 1)]
    ended = _run(tmp_path, rows, Capped(), None, "router.queue_timeout_s=1.0")
    ((call, at_s),) = [(call, at_s) for call, end, at_s in ended if end is End.SHED]
    assert call.id == 1
    assert at_s == pytest.approx(1.6, abs=0.01)


def test_a_client_that_leaves_makes_room_for_the_next(tmp_path: Path) -> None:
    def leave(world: World) -> None:
        calls: list[Call] = []
        world.cluster.pools[DECODE].listener.first = lambda call, replica: None
        world.events.at(0.3, lambda _: calls.extend(world.cluster.pools[DECODE].ready[0].calls))
        world.events.at(0.3, lambda _: world.gateway.cancel(calls[0]))

    ended = _run(tmp_path, [(0.0, 100, 500), (0.01, 100, 5)], Capped(), leave)
    assert [(call.id, end) for call, end, _ in ended] == [(0, End.CANCELLED), (1, End.COMPLETED)]
    assert ended[1][2] == pytest.approx(0.4, abs=0.03)


def test_a_client_that_leaves_the_line_is_passed_over(tmp_path: Path) -> None:
    rows = [(0.0, 100, 50), (0.01, 100, 5), (0.02, 100, 5)]
    ended: list[int] = []

    def leave(world: World) -> None:
        waiting = world.gateway.fronts[DECODE].pending  # type: ignore[attr-defined]
        world.events.at(0.5, lambda _: world.gateway.cancel(waiting[0]))
        world.events.at(0.51, lambda _: ended.append(world.gateway.queued(DECODE)))

    outcome = _run(tmp_path, rows, Capped(), leave)
    assert [(call.id, end) for call, end, _ in outcome] == [
        (1, End.CANCELLED),
        (0, End.COMPLETED),
        (2, End.COMPLETED),
    ]
    assert ended == [1]


def test_calls_lost_before_their_first_token_are_tried_again(tmp_path: Path) -> None:
    def die(world: World) -> None:
        pool = world.cluster.pools[PREFILL]
        world.events.at(0.5, lambda _: world.cluster.kill(pool.ready[0]))

    ended = _run(tmp_path, [(0.0, 900, 5)], Capped(prefill=2), die)
    ((call, end, at_s),) = ended
    assert (end, call.attempts) == (End.COMPLETED, 2)
    assert at_s == pytest.approx(1.5, abs=0.03)  # 0.9 s again, and 5 tokens


def test_calls_lost_after_their_first_token_fail(tmp_path: Path) -> None:
    def die(world: World) -> None:
        pool = world.cluster.pools[DECODE]
        world.events.at(0.5, lambda _: world.cluster.kill(pool.ready[0]))

    ended = _run(tmp_path, [(0.0, 100, 500)], Capped(decode=2), die)
    assert [end for _, end, _ in ended] == [End.FAILED]
