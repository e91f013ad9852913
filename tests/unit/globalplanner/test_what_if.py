"""Questions to a planner: who answers them, when, and what is said if nobody can."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import pytest

from globalplanner import what_if
from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.study.study import WhatIfAnswer
from globalplanner.what_if import WhatIf
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, snapshot, view
from weir.domain.errors import UnavailableError
from weir.domain.fleet import Fleet, NodeGroup

ONE = pool("one")
FLEET = fleet([ONE], gpus=2, node_groups=[NodeGroup(name="nodes", gpu_class="gpu", gpus=2)])


@dataclass
class Planner:
    now: Snapshot | None = field(
        default_factory=lambda: snapshot([view(ONE, 2)], {"chat": 12.0}, whole=FLEET)
    )
    rules: Rules = field(default_factory=Rules)
    fleet: Fleet = FLEET
    asked: int = 0

    def moment(self) -> Snapshot | None:
        self.asked += 1
        return self.now

    def not_ready(self) -> str | None:
        return "does not lead: another one does"


class Slow:
    """In the place of the study: takes until it is let, or its time is over if it minds that."""

    def __init__(self, *, minds_time: bool = True) -> None:
        self.minds_time = minds_time
        self.go, self.started = threading.Event(), threading.Event()
        self.running = self.most = 0

    def __call__(self, *args: object) -> WhatIfAnswer | None:
        left_s = args[-1]
        assert callable(left_s)
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        self.go.wait(left_s() if self.minds_time else 10.0)
        self.running -= 1
        return None


async def test_a_question_is_answered_about_the_moment() -> None:
    asker = WhatIf(Planner(), time.monotonic)
    answer = await asker.ask({"gpu": 1}, 1.0)
    assert answer.served_now_rps == pytest.approx({CHAT: 10.0})
    assert answer.served_rps == pytest.approx({CHAT: 12.0})
    asker.close()


async def test_the_same_question_in_the_same_moment_is_answered_once() -> None:
    now_s = [100.0]
    planner = Planner()
    asker = WhatIf(planner, lambda: now_s[0])
    first = await asker.ask({"gpu": 1}, 1.0)
    assert await asker.ask({"gpu": 1, "other": 0}, 1.0) is first
    assert await asker.ask({}, 1.0) is not first
    assert planner.asked == 1
    now_s[0] += 5.0
    assert await asker.ask({"gpu": 1}, 1.0) is not first
    assert planner.asked == 2


async def test_what_no_node_group_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="no node group has TPU; there are gpu"):
        await WhatIf(Planner(), time.monotonic).ask({"TPU": 1}, 1.0)
    with pytest.raises(ValueError, match="load_factor"):
        await WhatIf(Planner(), time.monotonic).ask({}, -1.0)


async def test_who_does_not_lead_or_knows_no_load_says_so() -> None:
    with pytest.raises(UnavailableError, match="does not lead: another one does"):
        await WhatIf(Planner(now=None), time.monotonic).ask({}, 1.0)
    unknown = Planner(now=snapshot([view(ONE, 2)], None))
    with pytest.raises(UnavailableError, match="no traffic telemetry yet"):
        await WhatIf(unknown, time.monotonic).ask({}, 1.0)


async def test_what_takes_too_long_is_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "study", Slow())
    asker = WhatIf(Planner(), time.monotonic, within_s=0.05)
    with pytest.raises(UnavailableError, match=r"no answer was found within 0\.05 s for 1 pools"):
        await asker.ask({}, 1.0)


async def test_questions_wait_for_each_other_and_the_loop_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(minds_time=False)
    monkeypatch.setattr(what_if, "study", slow)
    monkeypatch.setattr(what_if, "_LATE_S", 0.1)
    asker = WhatIf(Planner(), time.monotonic, within_s=0.3)
    questions = [asyncio.create_task(asker.ask({"gpu": n}, 1.0)) for n in range(1, 4)]
    await asyncio.to_thread(slow.started.wait, 5.0)
    answers = await asyncio.gather(*questions, return_exceptions=True)
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert sorted("another question" in str(answer) for answer in answers) == [False, True, True]
    assert slow.most == slow.running == 1
    slow.go.set()


async def test_a_caller_who_has_gone_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    asker = WhatIf(Planner(), time.monotonic, within_s=5.0)
    with monkeypatch.context() as patch:
        patch.setattr(what_if, "study", slow)
        gone = asyncio.create_task(asker.ask({}, 1.0))
        await asyncio.to_thread(slow.started.wait, 5.0)
        gone.cancel()
        await asyncio.wait({gone})
        assert gone.cancelled()
    later = asyncio.create_task(asker.ask({"gpu": 1}, 1.0))
    await asyncio.sleep(0.02)
    slow.go.set()
    assert (await later).served_rps == pytest.approx({CHAT: 12.0})
