"""What `weir.sizing` says of waits, held against engines that are run request by request."""

import math
from random import Random

import pytest

from weir.domain.fleet import Role, Slo, Statistic
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.engine.request import Request
from weir.engine.run import EngineRun
from weir.sizing.capacity import replica_capacity_rps
from weir.sizing.queueing import Queue

PROFILE = EngineProfile(
    timing=PolynomialTiming(
        prefill_s=(0.0, 3.3333e-4), decode_s=(0.010,), decode_per_sequence_s=0.9375e-3
    ),
    max_sequences=32,
    max_batched_tokens=2048,
)
ISL, OSL, SPREAD = 716, 180, 1.5
_REQUESTS = 6000


class _Pool:
    """Replicas behind a router that knows all their work; requests beyond `places` wait."""

    def __init__(self, replicas: int, places: int | None) -> None:
        self.runs = [EngineRun(PROFILE) for _ in range(replicas)]
        self.places = places
        self.came_s: dict[int, float] = {}
        self.ttft_s: list[tuple[float, float]] = []
        """Also how long the prompt takes if it is alone."""
        self.held: list[Request] = []

    def offer(self, request: Request, now_s: float) -> None:
        self.came_s[int(request.id)] = now_s  # type: ignore[call-overload]
        self.held.append(request)
        self._send(now_s)

    def run_to(self, now_s: float) -> None:
        while (run := min(self.runs, key=lambda run: run.due_s)).due_s <= now_s:
            at_s = run.due_s
            outcome = run.advance()
            for each in outcome.first:
                request = each.request
                alone_s = PROFILE.idle_prefill_s(0 if request.prefilled else request.prompt_tokens)
                self.ttft_s.append((at_s - self.came_s[int(request.id)], alone_s))
            self._send(at_s)

    def _send(self, now_s: float) -> None:
        while self.held:
            run = min(self.runs, key=lambda run: self._work(run, now_s))
            if self.places is not None and run.model.running + run.model.waiting >= self.places:
                return
            run.submit(self.held.pop(0), now_s)

    def _work(self, run: EngineRun, now_s: float) -> float:
        if self.places is not None:
            return run.model.running + run.model.waiting
        run.sync(now_s)
        under_way = run.model.iteration
        rest_s = under_way.end_s - now_s if under_way is not None else 0.0
        return rest_s + PROFILE.timing.prefill_time_s(run.model.pending_tokens)


def _late(role: Role, rate_rps: float, slo: Slo, *, replicas: int) -> float:
    """Share of requests whose first token is late, of those whose own prompt is not half of it."""
    counted = [
        ttft_s
        for ttft_s, alone_s in _first_tokens_s(role, rate_rps, replicas=replicas)
        if 2 * alone_s < slo.ttft_s
    ]
    return sum(ttft_s > slo.ttft_s for ttft_s in counted) / len(counted)


def _mean_s(role: Role, rate_rps: float, *, replicas: int) -> float:
    found = _first_tokens_s(role, rate_rps, replicas=replicas)
    return sum(ttft_s for ttft_s, _ in found) / len(found)


def _first_tokens_s(role: Role, rate_rps: float, *, replicas: int) -> list[tuple[float, float]]:
    """Each request's TTFT, and how long its prompt takes if it is alone."""
    rng, now_s = Random(3), 0.0
    sigma = math.sqrt(math.log1p(SPREAD))
    decodes = role is Role.DECODE
    pool = _Pool(replicas, 32 if decodes else None)
    for number in range(_REQUESTS):
        now_s += rng.expovariate(rate_rps)
        isl = max(1, round(rng.lognormvariate(math.log(ISL) - sigma**2 / 2, sigma)))
        osl = max(1, round(rng.lognormvariate(math.log(OSL) - sigma**2 / 2, sigma)))
        pool.run_to(now_s)
        pool.offer(Request(number, isl, osl if decodes else 1, prefilled=decodes), now_s)
    pool.run_to(1e9)
    return pool.ttft_s[_REQUESTS // 10 :]


def _capacity_rps(role: Role, slo: Slo, replicas: int) -> float:
    queue = Queue(replicas=replicas, isl_spread=SPREAD, osl_spread=SPREAD)
    rate_rps = replica_capacity_rps(PROFILE, role, slo, ISL, OSL, queue=queue)
    assert rate_rps is not None
    return rate_rps


@pytest.mark.parametrize(("percentile", "ttft_s"), [(0.95, 1.5), (0.99, 2.0)])
@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_at_the_planned_rate_about_as_many_prompts_are_late_as_may_be(
    replicas: int, percentile: float, ttft_s: float
) -> None:
    slo = Slo(ttft_s=ttft_s, itl_s=0.05, percentile=percentile)
    rate_rps, beyond = replicas * _capacity_rps(Role.PREFILL, slo, replicas), 1.0 - percentile
    # Waits of half an hour differ much between half hours: by up to three times over ten seeds.
    assert _late(Role.PREFILL, rate_rps, slo, replicas=replicas) <= 3.5 * beyond
    assert _late(Role.PREFILL, 1.3 * rate_rps, slo, replicas=replicas) > 2.0 * beyond


@pytest.mark.parametrize("replicas", [1, 4])
def test_at_the_planned_rate_sequences_find_a_place_in_time(replicas: int) -> None:
    slo = Slo(ttft_s=1.0, itl_s=0.05, percentile=0.99)
    rate_rps = replicas * _capacity_rps(Role.DECODE, slo, replicas)
    assert _late(Role.DECODE, rate_rps, slo, replicas=replicas) <= 0.03
    assert _late(Role.DECODE, 1.15 * rate_rps, slo, replicas=replicas) > 0.1


@pytest.mark.parametrize("replicas", [1, 2, 4, 8])
def test_at_the_planned_rate_the_mean_prompt_is_in_time(replicas: int) -> None:
    slo = Slo(ttft_s=0.6, itl_s=0.05, statistic=Statistic.MEAN)
    rate_rps = replicas * _capacity_rps(Role.PREFILL, slo, replicas)
    assert _mean_s(Role.PREFILL, rate_rps, replicas=replicas) <= 0.6
    assert _mean_s(Role.PREFILL, 1.15 * rate_rps, replicas=replicas) > 0.6
