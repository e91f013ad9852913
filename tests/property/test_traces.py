"""Whatever the bytes are, reading a trace ends in requests or in a TraceError."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from weir.domain.errors import TraceError
from weir.workload import TraceRequest, read_columns, read_trace, superpose, write_trace

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
@given(
    st.text(alphabet='0123456789.,-+e "\n\r', max_size=40),
    st.sampled_from(["1,1,1\n", "1,2,3,a\r\n", "a,1,2,3,\n"]),
    st.sampled_from(
        ["timestamp_s,isl,osl", "timestamp_s,isl,osl,class", "class,osl,isl,timestamp_s,reuse_tok"]
    ),
)
def test_a_file_read_at_once_gives_what_it_gives_row_by_row(
    tmp_path: Path, text: str, row: str, head: str
) -> None:
    def result(header: str) -> object:
        path = tmp_path / "trace"
        path.write_bytes(f"{header}\n{row}{text}\n{row}".encode())
        try:
            return read_trace(path)
        except TraceError as error:
            return str(error)

    # Quotes anywhere have the whole file read row by row.
    assert result(head) == result(f'"{head}"'.replace(",", '","'))


@QUICK
@given(
    st.lists(requests, min_size=1, max_size=20),
    st.floats(0.01, 5.0),
    st.integers(),
    st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)),
)
def test_superposing_is_deterministic_sorted_within_the_span_and_in_whole_copies(
    tmp_path: Path,
    rows: list[TraceRequest],
    factor: float,
    seed: int,
    window: tuple[float, float],
) -> None:
    write_trace(tmp_path / "trace.csv", rows)
    columns = read_columns(tmp_path / "trace.csv")
    scaled = superpose(columns, factor, seed)
    times_s = scaled.timestamp_s
    assert (np.diff(times_s) >= 0.0).all()
    assert scaled.requests() == superpose(columns, factor, seed).requests()
    assert int(factor) * len(rows) <= len(scaled) <= (int(factor) + 1) * len(rows)
    first_s, last_s = columns.timestamp_s[[0, -1]]
    around_s = (last_s - first_s) * (1.0 + 1.0 / max(1, len(rows) - 1))
    assert ((times_s >= first_s - 1e-6) & (times_s <= first_s + around_s + 1e-6)).all()
    cut = superpose(columns, factor, seed, start_s=window[0], end_s=window[1])
    assert cut.requests() == scaled.between(*window).requests()
