from dataclasses import replace

import msgpack
import pytest

from poolplanner.adapters.dynamo_events import decode, envelope_payload, subject
from poolplanner.core.passes import ForwardPass, Passes
from weir.domain.fleet import Role
from weir.domain.ids import PoolId

MESSAGE = {
    "version": 1,
    "worker_id": "7f3a",
    "dp_rank": 1,
    "counter_id": 42,
    "wall_time": 0.025,
    "scheduled_requests": {
        "num_prefill_requests": 2,
        "sum_prefill_tokens": 900,
        "var_prefill_length": 12.5,
        "sum_prefill_kv_tokens": 100,
        "num_decode_requests": 30,
        "sum_decode_kv_tokens": 45_000,
        "var_decode_kv_tokens": 3.0,
    },
    "queued_requests": {
        "num_prefill_requests": 3,
        "sum_prefill_tokens": 2100,
        "num_decode_requests": 1,
    },
}
ONE = ForwardPass(
    worker_id="7f3a",
    rank=1,
    number=42,
    wall_s=0.025,
    prefills=2,
    prefill_tokens=900,
    prefill_kv_tokens=100,
    decodes=30,
    decode_kv_tokens=45_000,
    waiting=4,
    waiting_tokens=2100,
)
IDLE = replace(
    ONE,
    wall_s=0.0,
    prefills=0,
    prefill_tokens=0,
    prefill_kv_tokens=0,
    decodes=0,
    decode_kv_tokens=0,
    waiting=0,
    waiting_tokens=0,
)


def test_version_1_is_read_and_what_is_left_out_is_its_default() -> None:
    assert decode(msgpack.packb(MESSAGE)) == ONE
    assert decode(msgpack.packb({"version": 1, "worker_id": "w"})).wall_s == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"worker_id": ""},
        {"worker_id": 7},
        {"wall_time": float("nan")},
        {"wall_time": -1.0},
        {"counter_id": True},
        {"scheduled_requests": [1, 2]},
        {"queued_requests": {"num_prefill_requests": 2**70 // 2**8}},
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        decode(msgpack.packb({**MESSAGE, **change}))


def test_the_event_around_it_may_write_bytes_in_two_ways() -> None:
    event = {"publisher_id": 1, "sequence": 2, "published_at": 3, "topic": "t"}
    for payload in (b"\x01\xff", [1, 255]):
        assert envelope_payload(msgpack.packb({**event, "payload": payload})) == b"\x01\xff"
    for payload in (None, "text", [256], ["a"]):
        with pytest.raises(ValueError):
            envelope_payload(msgpack.packb({**event, "payload": payload}))


def test_engines_are_found_by_namespace_and_role() -> None:
    assert subject("prod-chat", Role.PREFILL) == (
        "namespace.prod-chat.component.prefill.forward-pass-metrics"
    )
    assert ".component.backend." in subject("x", Role.AGG)


def test_a_second_of_passes_is_one_sample() -> None:
    passes = Passes(pool_id=PoolId("chat"), kv_total_tokens=100_000)
    for number in range(40):
        assert passes.take(replace(ONE, number=number), 0.025 * number)
    assert passes.due(0.975) == []
    (sample,) = passes.due(1.0)
    assert (sample.iterations, sample.prefill_iterations) == (40, 40)
    assert sample.busy_s == pytest.approx(1.0)
    assert (sample.prefill_tokens, sample.decode_tokens) == (36_000, 1200)
    assert (sample.running, sample.waiting, sample.waiting_tokens) == (32, 4, 2100)
    assert sample.kv_used_tokens == 46_000
    # The profile's, for passes do not tell it.
    assert sample.kv_total_tokens == 100_000
    assert (sample.completed, sample.cached_tokens) == (None, None)
    assert passes.due(2.0) == []


def test_an_idle_engine_says_that_it_is_there_and_ran_nothing() -> None:
    passes = Passes(pool_id=PoolId("chat"))
    passes.take(ONE, 0.0)
    passes.due(1.0)
    passes.take(replace(IDLE, number=43), 2.0)
    (sample,) = passes.due(2.0)
    assert (sample.iterations, sample.busy_s, sample.running) == (0, 0.0, 0)
    assert sample.sequence == 2


def test_doubled_and_late_passes_count_once_and_a_new_process_counts_again() -> None:
    passes = Passes(pool_id=PoolId("chat"))
    assert passes.take(replace(ONE, number=5000), 0.0)
    assert not passes.take(replace(ONE, number=5000), 0.1)
    assert not passes.take(replace(ONE, number=4990), 0.1)
    assert passes.take(replace(ONE, number=0), 0.2)
    assert passes.take(replace(ONE, rank=0, number=3), 0.2)
    (sample,) = passes.due(1.0)
    assert sample.iterations == 3
    assert sample.running == 64
