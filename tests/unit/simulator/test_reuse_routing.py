"""Simulated prompts share what their trace says, and the router makes something of it."""

from tests.benchmarks.bench_reuse import Figures, measure, scenario, table
from tests.benchmarks.bench_routing import CASES
from weir.simulator.call import Call

SHORT_S = 240.0


def test_the_router_finds_more_of_its_prompts_cached_than_taking_turns_does() -> None:
    weir, unseen, turns = (
        measure(0.8, way, 0, end_s=SHORT_S) for way in ("weir", "weir, reuse unseen", "round robin")
    )
    assert weir.hits > 1.5 * turns.hits > 0.0
    assert weir.hits > 1.5 * unseen.hits
    assert weir.busy < min(unseen.busy, turns.busy)
    assert weir.attainment >= unseen.attainment


def test_requests_of_a_trace_share_as_much_as_it_says() -> None:
    made = scenario(0.8, 0, end_s=SHORT_S)
    seen: set[int] = set()
    found = 0
    for chain in made.chains:
        found += sum(block in seen for block in chain)
        seen.update(chain)
    reuse = made.columns.reuse_tokens
    assert reuse is not None
    assert 0.9 * reuse.sum() < found * 512 <= reuse.sum()


def test_prompts_of_a_trace_that_says_nothing_share_nothing() -> None:
    assert CASES[0].scenario(0.8, share=0.02).chains == ()


def test_an_engines_blocks_are_parts_of_the_traces() -> None:
    call = Call(0, 0.0, 1100, 10, 0, "", (7, 9))
    assert call.block_hashes(512) == (7, 9)
    assert call.block_hashes(256) == (14, 15, 18, 19)
    assert call.block_hashes(500) == ()


def test_a_row_is_the_mean_over_seeds() -> None:
    one = Figures(
        load=0.8, way="weir", seed=0, hits=0.3, busy=0.5, attainment=0.99, ttft_p50_s=1.0,
        ttft_p99_s=9.0, shed=0,
    )  # fmt: skip
    two = Figures(
        load=0.8, way="weir", seed=1, hits=0.2, busy=0.6, attainment=0.97, ttft_p50_s=2.0,
        ttft_p99_s=11.0, shed=4,
    )  # fmt: skip
    assert list(table([one, two]))[-1] == ("| weir | 25.0%; 55%; 1.50, 10.0 s; 98.0%, 2 shed |")
