"""Whatever the bytes are, reading a trace ends in requests or in a TraceError."""

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from weir.domain.errors import TraceError
from weir.workload import TraceRequest, read_trace, scale_rate, write_trace

QUICK = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

requests = st.builds(
    TraceRequest,
    timestamp_s=st.integers(0, 10**9).map(lambda ms: ms / 1000),
    isl_tokens=st.integers(1, 10_000_000),
    osl_tokens=st.integers(1, 10_000_000),
    class_name=st.none() | st.text("abc,\"' ", min_size=1).map(str.strip).map(lambda t: t or None),
    tenant=st.none() | st.just("t"),
    reuse_tokens=st.none() | st.integers(0, 1000),
)


def _read(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        read = read_trace(path)
    except TraceError as error:
        assert error.line >= 1
        assert str(error).startswith(f"{path}:{error.line}: ")
    else:
        assert read
        assert all(r.isl_tokens >= 1 and r.osl_tokens >= 1 and r.timestamp_s >= 0.0 for r in read)


@QUICK
@given(st.binary(max_size=100), st.sampled_from([b"", b"timestamp_s,isl,osl\n", b"\x1f\x8b\x08"]))
def test_any_bytes(tmp_path: Path, data: bytes, head: bytes) -> None:
    _read(tmp_path / "trace", head + data)


@QUICK
@given(st.text(alphabet='0123456789.,-+eEnaif"\n\r \0_', max_size=60))
@example("1_0,1,1")
@example("1,1,1\r1,1,1")
def test_any_cells(tmp_path: Path, text: str) -> None:
    _read(tmp_path / "trace", f"timestamp_s,isl,osl\n{text}".encode())


@QUICK
@given(st.lists(requests, min_size=1, max_size=20), st.integers(0, 200))
def test_a_truncated_gzip_is_never_taken_for_a_shorter_trace(
    tmp_path: Path, rows: list[TraceRequest], cut: int
) -> None:
    path = tmp_path / "trace.csv.gz"
    write_trace(path, rows)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(3, len(whole) - 1 - cut)])
    try:
        read_trace(path)
    except TraceError:
        return
    raise AssertionError("a truncated file was accepted")


@QUICK
@given(st.lists(requests, min_size=1, max_size=20))
def test_what_is_written_is_read_back_in_order_of_time(
    tmp_path: Path, rows: list[TraceRequest]
) -> None:
    write_trace(tmp_path / "trace.csv", rows)
    assert read_trace(tmp_path / "trace.csv") == sorted(rows, key=lambda r: r.timestamp_s)


@QUICK
@given(st.lists(requests, max_size=20), st.floats(0.01, 5.0), st.integers())
def test_scaling_is_deterministic_sorted_and_within_whole_copies(
    rows: list[TraceRequest], factor: float, seed: int
) -> None:
    rows = sorted(rows, key=lambda r: r.timestamp_s)
    scaled = scale_rate(rows, factor, seed)
    assert scaled == scale_rate(rows, factor, seed)
    assert scaled == sorted(scaled, key=lambda r: r.timestamp_s)
    assert int(factor) * len(rows) <= len(scaled) <= (int(factor) + 1) * len(rows)
