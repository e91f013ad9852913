"""Whatever a pool sends is refused with the field that is wrong, or can be true."""

import math
from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from globalplanner.adapters.pools import read_report
from globalplanner.core.budget.ledger import Ledger
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, pool, request_class
from weir.api.v1 import planner_pb2
from weir.domain.errors import StaleTermError, UnknownPoolError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import PoolReport

FLEET = fleet([pool("a"), pool("b")], classes=[request_class("chat"), request_class("long")])
TERM = 7

names = st.sampled_from(["", "a", "b", "chat", "long", "other", "x" * 300]) | st.text(max_size=5)
numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.5, -0.0, 1e10])
counts = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)


def messages(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields, each with anything."""
    return st.fixed_dictionaries({}, optional=fields)


states = messages(ready=counts, starting=counts, terminating=counts)
loads = messages(
    class_name=names,
    rate_rps=numbers,
    rate_high_rps=numbers,
    isl_tokens=numbers,
    osl_tokens=numbers,
)
anything = messages(
    pool_id=names,
    sequence=longs,
    acted_term=longs,
    acted_epoch=longs,
    acted_replicas=counts,
    state=states.map(lambda fields: planner_pb2.PoolState(**fields)),
    capacity_rps=st.dictionaries(names, numbers, max_size=3),
    capacity_rel_std=numbers,
    load=st.lists(loads.map(lambda fields: planner_pb2.ClassLoad(**fields)), max_size=3),
    backlog_replica_s=numbers,
    telemetry_age_s=numbers,
    ttft_s=numbers,
    itl_s=numbers,
    start_up_s=numbers,
    withdrawn=st.booleans(),
    role=names | st.sampled_from(["agg", "decode"]),
    gpus_per_replica=counts,
    wish=counts,
)
GOOD: dict[str, Any] = {
    "pool_id": "a",
    "sequence": 1,
    "state": planner_pb2.PoolState(ready=1),
    "capacity_rps": {"chat": 2.0},
    "load": [planner_pb2.ClassLoad(class_name="chat", rate_rps=1.0, rate_high_rps=2.0)],
    "role": "agg",
    "gpus_per_replica": 1,
}
one_field_is_anything = st.tuples(st.sampled_from(sorted(GOOD)), anything).map(
    lambda drawn: GOOD | {name: value for name, value in drawn[1].items() if name == drawn[0]}
)


def specs(pool_id: PoolId) -> list[PoolSpec]:
    found = [spec for spec in FLEET.pools if spec.id == pool_id]
    if not found:
        raise UnknownPoolError(pool_id)
    return found


FIELDS = [field.name for field in planner_pb2.ReportRequest.DESCRIPTOR.fields]


@given(anything | one_field_is_anything | anything.map(lambda fields: GOOD | fields))
@example(GOOD)
def test_a_report_is_refused_by_its_field_or_can_be_true(fields: dict[str, Any]) -> None:
    message = planner_pb2.ReportRequest(**fields)
    try:
        report, strange = read_report(message, specs, {CHAT, LONG}, term=TERM)
    except ValueError as error:
        assert any(name in str(error) for name in FIELDS), error
    except UnknownPoolError:
        assert message.pool_id not in ("a", "b")
    else:
        assert_can_be_true(report)
        assert_the_ledger_takes(report)
        assert not strange & {CHAT, LONG}
        assert {*report.capacity_rps, *(load.name for load in report.load)} <= {CHAT, LONG}


@given(st.binary(max_size=200))
def test_bytes_that_are_a_message_are_no_exception(payload: bytes) -> None:
    try:
        message = planner_pb2.ReportRequest.FromString(payload)
    except Exception:
        return  # gRPC refuses these itself
    try:
        report, _ = read_report(message, specs, {CHAT, LONG})
    except (ValueError, UnknownPoolError):
        return
    assert_can_be_true(report)


def assert_the_ledger_takes(report: PoolReport) -> None:
    """Unless the pool knows a later leader, which is no fault of the report."""
    ledger = Ledger(FLEET, term=TERM, valid_s=1.0)
    with suppress(StaleTermError):
        ledger.report(report, 0.0)
        assert ledger.accounts[report.pool_id].charged >= report.state.held


def assert_can_be_true(report: PoolReport) -> None:
    assert report.pool_id in ("a", "b")
    state = report.state
    for count in (
        *(report.sequence, report.acted_term, report.acted_epoch, report.acted_replicas),
        *(state.ready, state.starting, state.terminating),
    ):
        assert 0 <= count <= 10**16
    assert state.held <= 1_000_000
    measures = [report.capacity_rel_std, report.start_up_s, *report.capacity_rps.values()]
    for optional in (report.backlog_replica_s, report.telemetry_age_s, report.ttft_s, report.itl_s):
        measures += [optional] if optional is not None else []
    for load in report.load:
        measures += [load.rate_rps, load.rate_high_rps, load.isl_tokens, load.osl_tokens]
    assert all(math.isfinite(each) and 0.0 <= each <= 1e9 for each in measures)
    assert len({load.name for load in report.load}) == len(report.load)
    assert report.role in (None, "agg")
    assert report.gpus_per_replica in (None, 1)
