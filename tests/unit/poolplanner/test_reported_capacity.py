"""What forward passes tell ends up in the report."""

from dataclasses import replace
from random import Random

import pytest

from poolplanner.core.observe import Telemetry
from poolplanner.core.report import Reporter
from tests.unit.poolplanner.passes import slower, window
from tests.unit.poolplanner.pools import CLASSES, POOL, PROFILE, SMALL, pool_spec
from weir.domain.fleet import Role
from weir.domain.planning import PoolReport, PoolState


def _reporter(role: Role) -> Reporter:
    return Reporter(
        spec=pool_spec(role),
        classes=CLASSES,
        telemetry=Telemetry(pool_id=POOL, stale_s=15.0),
        utilization=0.8,
        osl_prior_tokens=256.0,
    )


def _report(reporter: Reporter, now_s: float) -> PoolReport:
    state = PoolState(ready=3, starting=0, terminating=0)
    return reporter.report(sequence=1, state=state, grant=None, now_s=now_s)


@pytest.mark.parametrize(("role", "times"), [(Role.PREFILL, 0.6), (Role.DECODE, 0.6)])
def test_capacity_is_what_engines_do_and_no_longer_what_the_profile_says(
    role: Role, times: float
) -> None:
    reporter, rng = _reporter(role), Random(3)
    before = _report(reporter, 0.0)
    for number in range(1, 25):
        for sample in window(slower(PROFILE, 1.0 / times), role, rng):
            sample = replace(sample, sequence=number)
            reporter.telemetry.on_forward_pass(sample, 5.0 * number)
        after = _report(reporter, 5.0 * number)
    assert after.capacity_rel_std < 0.05 < before.capacity_rel_std
    planned = after.capacity_rps[SMALL] / before.capacity_rps[SMALL]
    if role is Role.PREFILL:
        # Surer by far, so less head room; and three replicas wait for each other.
        assert times * 0.95 < planned < times * 0.96 / 0.8
    else:
        # Within 50 ms: 40 sequences at 10 + n ms before, 20 at (10 + n) / 0.6 ms now.
        assert planned == pytest.approx(times * 0.94 / 0.8 * (20 / 30) / (40 / 50), rel=0.05)
