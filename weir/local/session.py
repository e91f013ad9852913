"""One run of `weir up`, from the first process to the summary."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weir.domain.errors import WeirError
from weir.fleet import LoadedFleet
from weir.local.local_fleet import LocalFleet
from weir.local.output import Output
from weir.local.ports import HOST
from weir.local.replay import Replay
from weir.local.report import process_tree_cpu_s, replay_text, summarize
from weir.local.view import look
from weir.local.workspace import Workspace
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.summary import RunSummary
from weir.workload import TraceRequest

__all__ = ["Options", "run"]

_DRAIN_S = 30.0
"""Wall seconds that requests in flight get after the submission of `--for`."""
_ECHO_S = 1.0
"""A signal to the process group of `make up` arrives twice within this time."""
_LONGEST_SLEEP_S = 3600.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for, checked."""

    loaded: LoadedFleet
    requests: Sequence[TraceRequest] | None
    """None: no replay."""
    for_s: float
    """Infinite: until stopped."""
    speed: float
    port: int
    seed: int
    say: Callable[[str], None]
    """Where the endpoint is announced, for whoever waits for it."""


async def run(options: Options, stop: Stop) -> RunSummary | None:
    """Run the fleet until it has done what was asked or is stopped.

    None: it could not; why has been said on stderr.
    """
    hurry = _take_signals(stop)
    output = Output()
    output.take_warnings_of(logging.getLogger("weir.local"))
    begun_at_s = Clock.wall_s()
    with Workspace() as workspace:
        session = _Session(options, workspace, output, begun_at_s)
        try:
            summary = await session.serve(stop)
        except WeirError as error:
            output.note(str(error))
            summary = None
        finally:
            await session.close(hurry)
    if summary is None:
        return None
    spent = {"wall_s": Clock.wall_s() - begun_at_s, "cpu_s": process_tree_cpu_s()}
    return summary.model_copy(update=spent)


def _take_signals(stop: Stop) -> asyncio.Event:
    """The first signal asks for a stop, a later one for haste; both leave a clean machine."""
    hurry = asyncio.Event()
    asked_at_s: list[float] = []

    def on_signal() -> None:
        asked_at_s.append(Clock.wall_s())
        stop.set()
        if asked_at_s[-1] - asked_at_s[0] > _ECHO_S:
            hurry.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        loop.add_signal_handler(signal.SIGHUP, on_signal)
    return hurry


class _Session:
    def __init__(
        self, options: Options, workspace: Workspace, output: Output, begun_at_s: float
    ) -> None:
        self._options = options
        self._output = output
        self._begun_at_s = begun_at_s
        self._replay: Replay | None = None
        self._clock = Clock(speed=options.speed, origin_s=begun_at_s)
        self._fleet = LocalFleet(
            options.loaded.fleet,
            _fleet_arguments(options, workspace),
            public_port=options.port,
            clock=self._clock,
            workspace=workspace,
        )

    async def serve(self, stop: Stop) -> RunSummary:
        """Serve and replay for as long as asked. Raises `WeirError` if the fleet cannot start."""
        self._output.note(f"starting fleet {self._options.loaded.fleet.name}")
        await self._fleet.start()
        self._output.start(lambda: look(self._fleet, self._begun_at_s, self._replay))
        if await self._fleet.wait_ready(stop):
            self._options.say(f"serving at {self._fleet.endpoint}/v1 (Ctrl-C stops)")
            asks = f"weir status --planner {self._fleet.planner_address}"
            self._options.say(f"ask it: {asks}, likewise weir explain, what-if, budget, freeze")
            await self._serve_until_done(stop)
            await self._fleet.monitor.read_all()
        return summarize(self._fleet, self._replay)

    async def close(self, hurry: asyncio.Event) -> None:
        try:
            await self._output.stop()
            self._output.note("stopping")
        finally:
            await self._fleet.close(hurry)

    async def _serve_until_done(self, stop: Stop) -> None:
        until_s = Clock.wall_s() + self._options.for_s
        if self._options.requests is not None:
            await self._run_replay(self._options.requests, stop)
        while not stop.requested and (left_s := until_s - Clock.wall_s()) > 0.0:
            await stop.sleep(min(_LONGEST_SLEEP_S, left_s))
        if self._replay:
            await self._settle(until_s + _DRAIN_S, stop)

    async def _settle(self, latest_s: float, stop: Stop) -> None:
        """Let the fleet answer the end of the traffic: a run shows scaling both ways.

        Until every pool is back at its minimum, at most two dwell times or to `latest_s`.
        """
        dwell_s = self._options.loaded.planner.scale_down_dwell_s
        latest_s = min(latest_s, Clock.wall_s() + self._clock.wall_span_s(2.0 * dwell_s))
        while not stop.requested and Clock.wall_s() < latest_s and not self._fleet.at_minimum:
            await stop.sleep(_POLL_S)

    async def _run_replay(self, requests: Sequence[TraceRequest], stop: Stop) -> None:
        self._replay = Replay(
            host=HOST,
            port=self._fleet.public_port,
            model=self._options.loaded.fleet.models[0].name,
            requests=requests,
            clock=self._clock,
            seed=self._options.seed,
        )
        await self._replay.run(stop, for_s=self._options.for_s, drain_s=_DRAIN_S)
        self._report_replay(self._replay, stop)

    def _report_replay(self, replay: Replay, stop: Stop) -> None:
        progress = replay.progress
        for reason, count in progress.reasons.most_common(5):
            self._output.note(f"{count} requests: {reason}")
        if progress.late:
            self._output.note(
                f"{progress.late} requests were sent more than 50 ms late, the latest by"
                f" {progress.worst_lateness_s:.2f} s: this machine cannot keep up with the replay"
            )
        if not stop.requested and self._options.for_s == float("inf"):
            self._output.note("the replay is over; still serving, Ctrl-C stops")
            self._output.note(replay_text(summarize(self._fleet, replay)))


def _fleet_arguments(options: Options, workspace: Workspace) -> list[str]:
    """All children, restarted ones too, read the document as it was when the run began."""
    copy = workspace.path / "fleet.yaml"
    copy.write_text(options.loaded.document.model_dump_json(by_alias=True, exclude_none=True))
    return ["--fleet", str(copy)]
