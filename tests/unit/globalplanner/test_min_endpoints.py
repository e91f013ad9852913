"""Bounds of a pool, whatever it is sized by: its minimum, and the GPUs that it may have at most."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Memory, Rules
from tests.unit.globalplanner.fleets import pool, snapshot, view

RULES = Rules(scale_down_dwell_s=0.0)
BOUNDED = pool("a", gpus_per_replica=2, min_replicas=2, max_replicas=3)
OTHER = pool("b", model="n", min_replicas=0, max_replicas=99)

sizes = st.none() | st.integers(0, 50)
"""None: by SLOs. Else what another target, or somebody else, wishes."""
rates = st.none() | st.sampled_from([0.0, 3.0, 500.0])


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, rates, st.integers(0, 6), st.integers(4, 20))
def test_min_replicas_and_max_replicas_hold_under_every_target(
    wish: int | None, rival: int | None, rate_rps: float | None, has: int, gpus: int
) -> None:
    views = [view(BOUNDED, has, wish=wish), view(OTHER, 3, wish=rival)]
    loads = None if rate_rps is None else {"chat": rate_rps}
    replicas = arbitrate(snapshot(views, loads, gpus=gpus), RULES, Memory()).replicas
    assert BOUNDED.min_replicas <= replicas[BOUNDED.id] <= BOUNDED.max_replicas


@pytest.mark.parametrize("wish", [None, 50], ids=["sla", "wish"])
def test_a_pool_has_no_more_gpus_than_its_maximum_whatever_is_free(wish: int | None) -> None:
    now = snapshot([view(BOUNDED, 2, wish=wish)], {"chat": 500.0}, gpus=100)
    replicas = arbitrate(now, RULES, Memory()).replicas[BOUNDED.id]
    assert replicas * BOUNDED.gpus_per_replica == 6
