"""What the router is compared with: choices that know workers and count requests."""

from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from tests.benchmarks.bench_routing import CASES, WAYS, Figures, measure, table
from tests.benchmarks.blind import CHOICES

SHORT = 0.05  # of the twenty minutes


@dataclass
class Worker:
    in_flight: int


def choose(name: str, workers: list[Any], times: int) -> Counter[int]:
    """How often each worker is chosen, by its number of requests, which stays as it is."""
    choice = CHOICES[name](Random(0))
    return Counter(choice(workers).in_flight for _ in range(times))


def test_each_way_chooses_as_its_name_says() -> None:
    workers = [Worker(requests) for requests in (3, 1, 2, 0)]
    assert choose("round robin", workers, 40) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert choose("least requests", workers, 10) == {0: 10}
    assert min(choose("random", workers, 400).values()) > 60
    # Of two, the one with fewer: the emptiest of four is in half of all pairs, the fullest never.
    of_two = choose("power of two", workers, 600)
    assert 250 < of_two[0] < 350
    assert of_two[3] == 0


@pytest.mark.parametrize("name", CHOICES)
def test_one_worker_gets_everything(name: str) -> None:
    assert choose(name, [Worker(7)], 3) == {7: 3}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_fleet_is_fixed_and_as_busy_as_it_is_to_be(case: Any) -> None:
    scenario = case.scenario(0.8, share=SHORT)
    for pool in scenario.fleet.pools:
        assert pool.min_replicas == pool.max_replicas == scenario.first_size[pool.id]
    needs = sum(float(need.mean()) for need in scenario.oracle.need.values())
    # The rate is set by expectation, and some requests of a minute more or less come by chance.
    assert needs / sum(scenario.first_size.values()) == pytest.approx(0.8, rel=0.1)


def test_the_router_keeps_more_targets_than_who_only_counts_requests() -> None:
    kept = {way: measure(CASES[0], 0.8, way, share=0.1).attainment or 0.0 for way in WAYS}
    assert max(kept, key=kept.__getitem__) == "weir", kept


def test_a_cell_says_what_was_shed_and_what_is_not_known() -> None:
    known = Figures(
        case="c", load=0.6, way="weir", gpus=4, requests=10, attainment=0.9876,
        attainment_lowest=0.5, ttft_p99_s=1.234, itl_p99_s=None, shed=1200,
    )  # fmt: skip
    lines = list(table([known, replace(known, load=0.7, attainment=None)]))
    assert lines[0] == "### c, 4 GPUs"
    assert lines[-2] == "| weir | 98.8%, 1.23 s, 1,200 shed | – |"
