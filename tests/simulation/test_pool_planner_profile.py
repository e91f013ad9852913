"""Engines that are 40 % slower or faster than their profile says, or become so under load."""

import pytest

from tests.simulation.planner_world import FLEETS, other_engines, play

FOR_S, MENDED_S = 1000.0, 300.0
CHANGED_S = 400.0
POOLS = {
    "disagg": ("prefill", "decode"),
    "agg": ("agg",),
    "classes": tuple(
        f"{s}-{c}" for s in ("prefill", "decode") for c in ("small", "chat", "reason")
    ),
}
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]
PROFILES = {"disagg": "engine", "agg": "agg", "classes": "engine"}
ALONE = ("disagg", "agg")


def biases(fleet: str, bias: float) -> str:
    biases = ", ".join(f"{pool}: {bias}" for pool in POOLS[fleet])
    return f"spec.simulation.speed_biases={{{biases}}}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fleet", POOLS)
@pytest.mark.parametrize("bias", [-0.4, 0.4], ids=["slower", "faster"])
def test_after_five_minutes_a_pool_is_sized_as_by_a_right_profile(
    fleet: str, bias: float, seed: int
) -> None:
    """Pools begin at the size that the true engines need; nobody has told the planner."""
    load = FLEETS[fleet].times(2.0)
    wrong = play(load, FOR_S, seed=seed, sets=[biases(fleet, bias)])
    right = play(
        load,
        FOR_S,
        seed=seed,
        sets=[biases(fleet, 0.0), f"spec.profiles.{PROFILES[fleet]}.speed={1.0 + bias:g}"],
    )
    assert wrong.world.invariants.violations == []
    assert wrong.attainment(MENDED_S, FOR_S) >= 0.98
    gpu_hours = wrong.gpu_hours(MENDED_S, FOR_S) / right.gpu_hours(MENDED_S, FOR_S)
    assert 0.9 <= gpu_hours <= 1.1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fleet", ALONE)
def test_engines_that_become_slower_are_noticed_and_made_up_for(fleet: str, seed: int) -> None:
    """From 20 % off at most to half the profile's speed, at once and in all replicas."""
    load = FLEETS[fleet].times(2.0)
    played = play(load, FOR_S, seed=seed, watch=other_engines(CHANGED_S, 0.6))
    assert played.world.invariants.violations == []
    before = played.replicas(CHANGED_S)
    assert played.attainment(CHANGED_S, CHANGED_S + 60.0) < 0.97
    assert played.replicas(CHANGED_S + 60.0) >= 1.3 * before
    assert played.attainment(CHANGED_S + MENDED_S, FOR_S) >= 0.98


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fleet", ALONE)
def test_engines_that_become_faster_give_gpus_back(fleet: str, seed: int) -> None:
    load = FLEETS[fleet].times(2.0)
    played = play(load, FOR_S, seed=seed, watch=other_engines(CHANGED_S, 1.4))
    assert played.world.invariants.violations == []
    assert played.attainment(CHANGED_S, FOR_S) >= 0.99
    assert played.replicas(CHANGED_S + MENDED_S) <= 0.9 * played.replicas(CHANGED_S)
