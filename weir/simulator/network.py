"""Messages between the simulated processes, as unreliable as a fault makes them.

A message is lost, late, doubled or overtaken with the network's present probabilities, and lost
between processes that are cut off from each other. It reaches a process only if that lives, and
an answer only the very life of the process that has asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from weir.domain.errors import UnavailableError, WeirError
from weir.simulator.events import EventHeap
from weir.simulator.process import Process
from weir.simulator.tasks import Reply

__all__ = ["Kind", "Network", "Weather"]

_T = TypeVar("_T")

Kind = str
"""What a message is about: `traffic`, `forward-pass`, `report`, `members`, `plan`, `record`,
`actuator`, `leg`."""


@dataclass(slots=True, kw_only=True)
class Weather:
    """Probabilities per message; faults change them. `cut` and `silent` are absolute.

    `cut`: pairs of process names between which nothing passes, and how often each has been cut
    off; `silent`: kinds that are lost; `late_s`: by how much messages of a kind are late;
    `unanswered`: share of answers of a kind that are lost, after what was asked has been done.
    """

    loss: float = 0.0
    duplication: float = 0.0
    slow: float = 0.0
    """Share of messages that take up to `slow_s`, and so are overtaken."""
    slow_s: float = 8.0
    cut: dict[frozenset[str], int] = field(default_factory=dict)
    silent: set[Kind] = field(default_factory=set)
    late_s: dict[Kind, float] = field(default_factory=dict)
    unanswered: dict[Kind, float] = field(default_factory=dict)

    def cut_off(self, one: str, other: str) -> None:
        """Doing it twice takes as many `rejoin`."""
        pair = frozenset((one, other))
        self.cut[pair] = self.cut.get(pair, 0) + 1

    def rejoin(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        times = self.cut.pop(pair, 0)
        if times > 1:
            self.cut[pair] = times - 1


class Network:
    def __init__(self, events: EventHeap, rng: Random, *, delay_s: float) -> None:
        self.weather = Weather()
        self.messages = 0
        self.lost = 0
        self._events = events
        self._rng = rng
        self._delay_s = delay_s

    def send(
        self, source: Process, target: Process, kind: Kind, deliver: Callable[[], None]
    ) -> None:
        """One message; `deliver` runs at the target if it arrives and that lives then."""

        def arrive(_: object) -> None:
            if target.alive:
                deliver()

        self._transmit(source, target, kind, arrive)

    def send_value(
        self,
        source: Process,
        target: Process,
        kind: Kind,
        take: Callable[[_T], object],
        value: _T,
    ) -> None:
        """Hand `value` to `take` at the target."""

        def deliver() -> None:
            take(value)

        self.send(source, target, kind, deliver)

    def ask(
        self,
        source: Process,
        target: Process,
        kind: Kind,
        serve: Callable[[], _T | Reply[_T]],
        *,
        timeout_s: float,
        once: bool = False,
    ) -> Reply[_T]:
        """Let the target do `serve` and bring its result or `WeirError` back.

        It may serve with a `Reply`, and answers when that is settled. Without an answer in time:
        `UnavailableError`; whether it was or will be done is then unknown. `once`: a doubled
        request is not served a second time.
        """
        reply: Reply[_T] = Reply()
        life = source.life

        def back(answer: Callable[[], None]) -> None:
            lost = self.weather.unanswered
            if lost and self._rng.random() < lost.get(kind, 0.0):
                return

            def arrive(_: object) -> None:
                if source.alive and source.life == life:
                    answer()

            self._transmit(target, source, kind, arrive)

        served = False

        def serve_there() -> None:
            nonlocal served
            if once and served:
                return
            served = True
            try:
                value = serve()
            except WeirError as error:
                failure = error
                back(lambda: reply.fail(failure))
                return
            if isinstance(value, Reply):
                later = value
                later.when_done(lambda: back(lambda: later.pass_on(reply)))
            else:
                done = value
                back(lambda: reply.answer(done))

        self.send(source, target, kind, serve_there)
        late = UnavailableError(f"{kind}: no answer of {target.name} within {timeout_s:g} s")
        self._events.after(timeout_s, lambda _: reply.fail(late))
        return reply

    def _transmit(
        self, source: Process, target: Process, kind: Kind, arrive: Callable[[object], None]
    ) -> None:
        weather, rng = self.weather, self._rng
        self.messages += 1
        if kind in weather.silent or (
            weather.cut and frozenset((source.name, target.name)) in weather.cut
        ):
            self.lost += 1
            return
        copies = 1
        if weather.loss and rng.random() < weather.loss:
            copies = 0
            self.lost += 1
        elif weather.duplication and rng.random() < weather.duplication:
            copies = 2
        late_s = weather.late_s.get(kind, 0.0) if weather.late_s else 0.0
        for _ in range(copies):
            delay_s = self._delay_s * rng.uniform(0.5, 1.5) + late_s
            if weather.slow and rng.random() < weather.slow:
                delay_s += rng.uniform(0.0, weather.slow_s)
            self._events.after(delay_s, arrive)
