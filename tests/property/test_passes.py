"""Rubbish on Dynamo's event plane."""

import contextlib

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from poolplanner.adapters.dynamo_events import decode, envelope_payload
from poolplanner.core.passes import Passes
from weir.domain.ids import PoolId

FIELDS = [
    "version",
    "worker_id",
    "dp_rank",
    "counter_id",
    "wall_time",
    "scheduled_requests",
    "queued_requests",
    "num_decode_requests",
    "sum_prefill_tokens",
    "payload",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=len(FIELDS))
    ),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {"version": st.just(1), "worker_id": st.text(max_size=3)},
    optional=dict.fromkeys(FIELDS[2:], VALUES),
)


@given(st.binary(max_size=60) | VALUES.map(msgpack.packb) | MESSAGES.map(msgpack.packb))
def test_rubbish_is_refused_and_nothing_else_happens(data: bytes) -> None:
    passes = Passes(pool_id=PoolId("chat"))
    with contextlib.suppress(ValueError):
        envelope_payload(data)
    try:
        one = decode(data)
    except ValueError:
        return
    passes.take(one, 0.0)
    (sample,) = passes.due(1.0)
    assert sample.running >= 0 and sample.waiting >= 0
    assert sample.busy_s is not None and sample.busy_s >= 0.0
