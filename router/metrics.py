"""The router's metrics: read from the service's own counts when somebody asks.

Nothing is recorded twice and nothing costs the data plane. Classes, pools and reasons are
closed sets; times are model seconds.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from router.core.request import RouteReason
from router.core.traffic import BucketHistogram, ClassLog, PoolLog
from router.frontend.hints import Ignored
from router.frontend.ports import KeptKv
from router.service import RouterService
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.legs import WithoutPrefill

__all__ = [
    "BusState",
    "CounterState",
    "FrontendMeter",
    "RouterCollector",
    "SupervisorCollector",
    "registry",
    "render",
]

_STATUSES = (400, 401, 403, 404, 405, 408, 411, 413, 415, 422, 429, 431)
_PREFIX = "weir_router"


class BusState(Protocol):
    """What metrics tell of the NATS connection (`weir.runtime.bus.Bus`)."""

    dropped: int

    @property
    def connected(self) -> bool: ...


class CounterState(Protocol):
    """What metrics tell of tokenizers (`router.adapters.tokenizers.TokenCounter`)."""

    outcomes: dict[str, int]


class Open(Protocol):
    """What metrics tell of the public endpoint (`router.frontend.app.Frontend`) as it is now."""

    @property
    def connections(self) -> int: ...

    @property
    def engine_connections(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def tasks(self) -> int: ...


class LoadState(Protocol):
    """What metrics tell of the load of other routers (`router.adapters.load.SharedLoad`)."""

    misunderstood: int

    @property
    def heard(self) -> int: ...


class FrontendMeter:
    """Counts for the frontend what never becomes a flight. `open`: the frontend once it is made."""

    def __init__(self) -> None:
        self.open: Open | None = None
        self.rejections = {str(status): 0 for status in (*_STATUSES, "other")}
        self.recomputations = 0
        self.kept = dict.fromkeys(KeptKv, 0)
        self.grid_refused = 0
        self.ignored_hints: dict[tuple[str, str], int] = {}

    def rejected(self, status: int) -> None:
        key = str(status)
        self.rejections[key if key in self.rejections else "other"] += 1

    def recomputed(self) -> None:
        self.recomputations += 1

    def kept_kv(self, how: KeptKv) -> None:
        self.kept[how] += 1

    def hint_ignored(self, name: str, why: Ignored) -> None:
        key = name, why.value
        self.ignored_hints[key] = self.ignored_hints.get(key, 0) + 1


class RouterCollector(Collector):
    """`bus` and `shared` are None for a router without NATS, `counter` without tokenizers."""

    def __init__(
        self,
        service: RouterService,
        meter: FrontendMeter,
        bus: BusState | None = None,
        counter: CounterState | None = None,
        shared: LoadState | None = None,
    ) -> None:
        self._service = service
        self._meter = meter
        self._bus = bus
        self._counter = counter
        self._shared = shared

    def collect(self) -> Iterator[Metric]:
        yield from self._classes(self._service.traffic.classes)
        yield from self._pools(self._service.traffic.pools)
        yield from self._prompts()
        yield from self._outputs()
        yield from self._decisions()
        yield from self._open()
        yield from bus_metrics(self._bus)
        yield from self._others()

    def _others(self) -> Iterator[Metric]:
        """Nothing without NATS."""
        shared = self._shared
        if shared is None:
            return
        text = "Processes of other routers whose load at the workers counts here."
        yield GaugeMetricFamily(f"{_PREFIX}_others_heard", text, value=shared.heard)
        yield CounterMetricFamily(
            f"{_PREFIX}_others_misunderstood",
            "Messages of other routers that were dropped: they cannot be true.",
            value=shared.misunderstood,
        )

    def _classes(self, logs: Mapping[ClassName, ClassLog]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            f"{_PREFIX}_requests", "Requests that ended, by how.", labels=("class", "outcome")
        )
        arrivals = CounterMetricFamily(
            f"{_PREFIX}_arrivals", "Requests that arrived: the offered load.", labels=("class",)
        )
        queued = GaugeMetricFamily(
            f"{_PREFIX}_queued", "Requests that wait for room at the router.", labels=("class",)
        )
        in_flight = GaugeMetricFamily(
            f"{_PREFIX}_in_flight", "Requests that are at an engine.", labels=("class",)
        )
        for name, log in logs.items():
            arrivals.add_metric((name,), log.arrivals)
            queued.add_metric((name,), log.queued)
            in_flight.add_metric((name,), log.open - log.queued)
            for outcome, count in log.outcomes.items():
                requests.add_metric((name, outcome.value), count)
        yield from (requests, arrivals, queued, in_flight, _sheds(logs))
        yield _histogram(
            "ttft", "Arrival to first token, streamed responses.", logs, lambda log: log.ttft_s
        )
        yield _histogram(
            "itl", "Mean gap between output tokens of a request.", logs, lambda log: log.itl_s
        )
        yield _histogram(
            "duration", "Arrival to end of completed requests.", logs, lambda log: log.duration_s
        )

    def _pools(self, logs: Mapping[PoolId, PoolLog]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            f"{_PREFIX}_pool_requests", "Legs sent to the pool.", labels=("pool",)
        )
        failures = CounterMetricFamily(
            f"{_PREFIX}_pool_failures", "Legs that failed in the pool.", labels=("pool",)
        )
        in_flight = GaugeMetricFamily(
            f"{_PREFIX}_pool_in_flight", "Legs at the pool's engines.", labels=("pool",)
        )
        queued = GaugeMetricFamily(
            f"{_PREFIX}_pool_queued_tokens",
            "Prompt tokens sent to the pool whose first token is not back.",
            labels=("pool",),
        )
        ejections = CounterMetricFamily(
            f"{_PREFIX}_pool_ejections",
            "Times that a worker was left alone for a while, by why.",
            labels=("pool", "reason"),
        )
        for name, log in logs.items():
            for reason, count in log.ejections.items():
                ejections.add_metric((name, reason.value), count)
            requests.add_metric((name,), log.requests)
            failures.add_metric((name,), log.failed)
            in_flight.add_metric((name,), log.in_flight)
            queued.add_metric((name,), log.queued_tokens)
        yield from (requests, failures, in_flight, queued, self._kv(), self._pace())
        yield from (self._workers(), ejections)
        yield from self._reuse()

    def _kv(self) -> Metric:
        text = "KV tokens that running requests are reckoned to need of the pool's workers."
        kv = GaugeMetricFamily(f"{_PREFIX}_pool_kv_tokens", text, labels=("pool",))
        for pool in self._service.pools:
            ours = [w.kv_tokens - w.others.kv_tokens for w in list(pool.workers.values())]
            kv.add_metric((pool.id,), sum(ours))
        return kv

    def _pace(self) -> Metric:
        text = "How many times as long the pool's engines take as their profile says."
        pace = GaugeMetricFamily(f"{_PREFIX}_pool_pace", text, labels=("pool",))
        for pool in self._service.pools:
            pace.add_metric((pool.id,), pool.pace)
        return pace

    def _reuse(self) -> Iterator[Metric]:
        prompts = CounterMetricFamily(
            f"{_PREFIX}_reusable_prompt_tokens",
            "Prompt tokens of requests of which a part might have been cached.",
            labels=("pool",),
        )
        cached = CounterMetricFamily(
            f"{_PREFIX}_cached_tokens",
            "Prompt tokens that were expected to be cached at their engine, and that engines said"
            " were.",
            labels=("pool", "kind"),
        )
        told = CounterMetricFamily(
            f"{_PREFIX}_told_prompt_tokens",
            "Prompt tokens of requests of which engines said how much was cached.",
            labels=("pool",),
        )
        sessions = CounterMetricFamily(
            f"{_PREFIX}_session_requests",
            "Requests of a known session, by whether they went to the worker of the last one.",
            labels=("pool", "went"),
        )
        blocks = GaugeMetricFamily(
            f"{_PREFIX}_prefix_blocks",
            "Blocks of prompts that workers are believed to hold.",
            labels=("pool",),
        )
        for pool in self._service.pools:
            reuse = pool.reuse
            if reuse is None:
                continue
            prompts.add_metric((pool.id,), reuse.prompt_tokens)
            cached.add_metric((pool.id, "expected"), reuse.expected_tokens)
            cached.add_metric((pool.id, "actual"), reuse.told_tokens)
            told.add_metric((pool.id,), reuse.asked_tokens)
            sessions.add_metric((pool.id, "kept"), reuse.sessions.kept)
            sessions.add_metric((pool.id, "left"), reuse.sessions.left)
            blocks.add_metric((pool.id,), reuse.index.blocks)
        yield from (prompts, cached, told, sessions, blocks)
        yield from self._kv_events()

    def _kv_events(self) -> Iterator[Metric]:
        told = [
            (pool.id, pool.reuse.holdings)
            for pool in self._service.pools
            if pool.reuse is not None and pool.reuse.holdings is not None
        ]
        if not told:
            return
        events = CounterMetricFamily(
            f"{_PREFIX}_kv_events",
            "Events of engines' prefix caches, by kind.",
            labels=("pool", "kind"),
        )
        gaps = CounterMetricFamily(
            f"{_PREFIX}_kv_event_gaps",
            "Times that events were missed: they were replayed, or all of the worker forgotten.",
            labels=("pool", "outcome"),
        )
        restarts = CounterMetricFamily(
            f"{_PREFIX}_kv_event_restarts",
            "Times that a worker was forgotten since its events ended or began anew.",
            labels=("pool",),
        )
        malformed = CounterMetricFamily(
            f"{_PREFIX}_kv_event_malformed",
            "Messages that could not be understood, which count as missed.",
            labels=("pool",),
        )
        blocks = GaugeMetricFamily(
            f"{_PREFIX}_kv_blocks",
            "KV blocks that workers hold by their events.",
            labels=("pool",),
        )
        workers = GaugeMetricFamily(
            f"{_PREFIX}_kv_known_workers",
            "Workers of which all that they hold is known.",
            labels=("pool",),
        )
        for name, holdings in told:
            for kind, count in holdings.events.items():
                events.add_metric((name, kind), count)
            for outcome, count in holdings.gaps.items():
                gaps.add_metric((name, outcome), count)
            restarts.add_metric((name,), holdings.restarts)
            malformed.add_metric((name,), holdings.malformed)
            blocks.add_metric((name,), holdings.blocks)
            workers.add_metric((name,), holdings.known)
        yield from (events, gaps, restarts, malformed, blocks, workers)

    def _workers(self) -> Metric:
        workers = GaugeMetricFamily(
            f"{_PREFIX}_pool_workers", "Workers of the pool, by state.", labels=("pool", "state")
        )
        for pool in self._service.pools:
            counts = {"ready": 0, "ejected": 0, "draining": 0}
            for worker in list(pool.workers.values()):
                counts[worker.state] += 1
            for state, count in counts.items():
                workers.add_metric((pool.id, state), count)
        return workers

    def _prompts(self) -> Iterator[Metric]:
        prompts = self._service.prompts
        models = list(prompts.errors.items())
        yield _by_model(
            CounterMetricFamily,
            "isl_estimates",
            "Prompts of estimated length that an engine has counted since.",
            {name: errors.prompts for name, errors in models},
        )
        yield _by_model(
            CounterMetricFamily,
            "isl_tokens",
            "Tokens of these prompts as counted by engines.",
            {name: errors.tokens for name, errors in models},
        )
        wrong = CounterMetricFamily(
            f"{_PREFIX}_isl_error_tokens",
            "Tokens that the estimates of these prompts were wrong by, each prompt's by itself.",
            labels=("model", "direction"),
        )
        for name, errors in models:
            wrong.add_metric((name, "high"), errors.too_many)
            wrong.add_metric((name, "low"), errors.too_few)
        yield wrong
        yield _by_model(
            GaugeMetricFamily,
            "isl_error_ratio",
            "Mean share that estimates of prompts are wrong by, of about the last 256.",
            {name: prompts.relative_error(name, "") for name, _ in models},
        )
        yield _by_model(
            GaugeMetricFamily,
            "isl_bytes_per_token",
            "Prompt bytes per token as learned.",
            {name: prompts.bytes_per_token(name, "") for name, _ in models},
        )
        yield _by_model(
            GaugeMetricFamily,
            "isl_template_tokens",
            "Tokens that the model's template adds to a prompt, as learned.",
            {name: prompts.template_tokens(name) for name, _ in models},
        )

        if self._counter is not None:
            text = "Prompts given to their model's tokenizer, by what came of it."
            yield _counter("isl_counts", text, "outcome", self._counter.outcomes)

    def _outputs(self) -> Iterator[Metric]:
        models = list(self._service.outputs.errors.items())
        yield _by_model(
            CounterMetricFamily,
            "osl_outputs",
            "Complete outputs of known length.",
            {name: errors.outputs for name, errors in models},
        )
        yield _by_model(
            CounterMetricFamily,
            "osl_tokens",
            "Tokens of these outputs.",
            {name: errors.tokens for name, errors in models},
        )
        yield _by_model(
            CounterMetricFamily,
            "osl_expected_tokens",
            "Tokens that were expected of these outputs when their requests came.",
            {name: errors.expected_tokens for name, errors in models},
        )
        yield _by_model(
            CounterMetricFamily,
            "osl_within_reserved",
            "Outputs no longer than what nine in ten were expected to stay within.",
            {name: errors.within for name, errors in models},
        )
        yield _by_model(
            CounterMetricFamily,
            "osl_above_median",
            "Outputs longer than what half were expected to stay within.",
            {name: errors.above_median for name, errors in models},
        )

    def _open(self) -> Iterator[Metric]:
        """What must come back to where it was when nobody asks for anything."""
        connections = GaugeMetricFamily(
            f"{_PREFIX}_connections", "Open connections, idle ones included.", labels=("side",)
        )
        now = self._meter.open
        if now is None:
            return
        connections.add_metric(("client",), now.connections)
        connections.add_metric(("engine",), now.engine_connections)
        yield connections
        text = "Requests that have been taken and not ended."
        yield GaugeMetricFamily(f"{_PREFIX}_running", text, value=now.running)
        yield GaugeMetricFamily(f"{_PREFIX}_tasks", "Tasks of the event loop.", value=now.tasks)

    def _decisions(self) -> Iterator[Metric]:
        traffic, meter = self._service.traffic, self._meter
        yield _counter("routes", "Routes taken, by why these pools.", "reason", traffic.routes)
        ran = {WithoutPrefill.RUN_ON_DECODE: traffic.routes[RouteReason.NO_PREFILL]}
        yield _counter(
            "without_prefill",
            "Requests that found no prefill worker ready, by what was done with them.",
            "policy",
            traffic.without_prefill | ran,
        )
        text = "Legs given up before their first byte."
        yield _counter("retries", text, "reason", traffic.retries)
        text = "Requests answered with a 4xx before they were routed."
        yield _counter("rejected", text, "status", meter.rejections)
        yield CounterMetricFamily(
            f"{_PREFIX}_recomputed_prefills",
            "Prefill legs without transfer parameters; the decode leg computed again.",
            value=meter.recomputations,
        )
        yield _counter(
            "kept_kv",
            "Prompts whose KV was left for a decode leg that did not come, by what became of it.",
            "how",
            meter.kept,
        )
        hints = CounterMetricFamily(
            f"{_PREFIX}_hints_ignored",
            "Hints of requests that were not followed, or not as far as they asked.",
            labels=("hint", "reason"),
        )
        for key, count in meter.ignored_hints.copy().items():
            hints.add_metric(key, count)
        yield hints
        yield _counter(
            "plans_refused",
            "Routing plans that changed nothing: not understood, unusable or old.",
            "reason",
            self._service.plans_refused,
        )
        reloads = {"taken": self._service.regrids, "refused": meter.grid_refused}
        text = "Changes of the grid's file, by outcome."
        yield _counter("grid_reloads", text, "outcome", reloads)
        plan = self._service.pools.plan
        for name, value in (("term", plan and plan.term), ("version", plan and plan.version)):
            text = f"The {name} of the routing plan in force; 0 without a plan."
            yield GaugeMetricFamily(f"{_PREFIX}_plan_{name}", text, value=value or 0)


def _sheds(logs: Mapping[ClassName, ClassLog]) -> Metric:
    shed = CounterMetricFamily(
        f"{_PREFIX}_shed", "Requests that were shed, by why.", labels=("class", "reason")
    )
    for name, log in logs.items():
        for reason, count in log.sheds.items():
            shed.add_metric((name, reason.value), count)
    return shed


class Processes(Protocol):
    """What metrics tell of a router's processes (`router.processes.host.Host`)."""

    restarts: int

    @property
    def running(self) -> int: ...


class SupervisorCollector(Collector):
    """What only the supervisor of several processes knows."""

    def __init__(self, processes: Processes, bus: BusState | None = None) -> None:
        self._processes = processes
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        text = "Processes that serve the port."
        yield GaugeMetricFamily(f"{_PREFIX}_processes", text, value=self._processes.running)
        text = "Processes that were started again because they had ended."
        restarts = self._processes.restarts
        yield CounterMetricFamily(f"{_PREFIX}_process_restarts", text, value=restarts)
        yield from bus_metrics(self._bus)


def bus_metrics(bus: BusState | None) -> Iterator[Metric]:
    """Nothing without NATS."""
    if bus is None:
        return
    text = "1 while NATS is connected."
    yield GaugeMetricFamily(f"{_PREFIX}_nats_connected", text, value=float(bus.connected))
    text = "Messages not published for want of NATS."
    yield CounterMetricFamily(f"{_PREFIX}_nats_dropped", text, value=bus.dropped)


def registry(collector: RouterCollector) -> CollectorRegistry:
    """A registry with the router's metrics and those of its process."""
    made = CollectorRegistry()
    made.register(collector)
    ProcessCollector(registry=made)
    return made


def render(metrics: CollectorRegistry) -> bytes:
    return generate_latest(metrics)


def _by_model(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    values: Mapping[ModelName, float],
) -> Metric:
    return _family(kind, name, text, "model", values)


def _counter(name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    return _family(CounterMetricFamily, name, text, label, values)


def _family(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[Any, float],
) -> Metric:
    """By one label; members of an enum go by their values, which they are."""
    family = kind(f"{_PREFIX}_{name}", text, labels=(label,))
    for key, value in values.items():
        family.add_metric((str(key),), value)
    return family


def _histogram(
    name: str,
    text: str,
    logs: Mapping[ClassName, ClassLog],
    of: Callable[[ClassLog], BucketHistogram],
) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}_{name}_seconds", text, labels=("class",))
    for class_name, log in logs.items():
        histogram = of(log)
        counts = list(histogram.counts)
        edges = [*(str(float(edge)) for edge in histogram.edges), "+Inf"]
        cumulative = [sum(counts[: i + 1]) for i in range(len(counts))]
        buckets = list(zip(edges, cumulative, strict=True))
        family.add_metric((class_name,), buckets, histogram.sum_s)
    return family
