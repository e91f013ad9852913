"""A trace as columns: the same rows and errors however a file is written, and cuts of it."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.unit.workload.traces import columns_of
from weir.domain.errors import TraceError
from weir.workload import read_columns, read_trace

HEAD = "timestamp_s,isl,osl,class,team,reuse_tok\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_names_become_codes_in_order_of_appearance(tmp_path: Path) -> None:
    columns = read_columns(write(tmp_path, HEAD + "0,1,2,chat,x,\n1,3,4,,,5\n2,5,6, chat ,y,0\n"))
    assert columns.timestamp_s.tolist() == [0.0, 1.0, 2.0]
    assert columns.isl_tokens.tolist() == [1, 3, 5]
    assert columns.osl_tokens.tolist() == [2, 4, 6]
    assert (columns.class_names, columns.class_codes.tolist()) == (("chat",), [0, -1, 0])
    assert (columns.tenant_names, columns.tenant_codes.tolist()) == ((), [-1, -1, -1])
    assert columns.reuse_tokens is not None
    assert columns.reuse_tokens.tolist() == [-1, 5, 0]


def test_a_missing_reuse_column_is_none(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path, "timestamp_s,isl,osl\n0,1,1\n")).reuse_tokens is None


@pytest.mark.parametrize(
    ("column", "names", "codes"),
    [("team", ("x", "y"), [0, -1, 1]), (" Class", ("chat",), [0, -1, 0]), ("osl", ("2",), [0] * 3)],
)
def test_tenants_can_be_taken_from_any_column(
    tmp_path: Path, column: str, names: tuple[str, ...], codes: list[int]
) -> None:
    path = write(tmp_path, HEAD + "0,1,2,chat,x,\n1,3,2,,,5\n2,5,2,chat,y,0\n")
    columns = read_columns(path, column)
    assert (columns.tenant_names, columns.tenant_codes.tolist()) == (names, codes)
    assert columns.class_names == ("chat",)


def test_a_tenant_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_columns(write(tmp_path, "timestamp_s,isl,osl,klass\n0,1,1,a\n"), "class")
    assert "csv:1: no column 'class' to take tenants from" in str(caught.value)
    assert "(found: timestamp_s, isl, osl, klass)" in str(caught.value)


ROWS = "".join(f"{n / 100},{n % 900 + 1},{n % 7 + 1},{'ab'[n % 2]}\n" for n in range(30_000))
LONG = "timestamp_s,isl,osl,class\n" + ROWS


@pytest.mark.parametrize(
    "late",
    ["\n\n", '400,1,1,"a"\n', '400,1,1,"a\nb"\n400,1,1,c', "400,1,1,a\r400,2,2,b", "400,1,1,a\r\n"],
    ids=["blank lines", "quotes", "a line end in quotes", "CR", "CRLF"],
)
def test_what_is_irregular_may_come_late_in_a_file_of_many_blocks(
    tmp_path: Path, late: str
) -> None:
    quoted = LONG.replace("timestamp_s", '"timestamp_s"', 1)  # read row by row from the start
    text = late + "\n" + "500,9,9,z"
    mixed = read_trace(write(tmp_path, LONG + text))
    assert mixed == read_trace(write(tmp_path, quoted + text))
    assert len(mixed) > 30_000
    assert mixed[-1].class_name == "z"


@pytest.mark.parametrize(
    ("late", "line", "says"),
    [
        ("1,1\n", 30_002, "has 2 values, the header names 4"),
        ("1,1,1,a,1\n2,1,1\n", 30_002, "has 5 values"),
        ("1,1\n1,1,1,a,b,c\n", 30_002, "has 2 values"),
        ("\n1,0,1,a\n", 30_003, "isl must be a whole number"),
        ("1,1,1,\udcff\n", 30_002, "not UTF-8"),
        ("1,1,1,a\0\n", 30_002, "NUL"),
        ("1,1,1," + "a" * 70_000 + "\n", 30_002, "longer than"),
    ],
)
def test_an_error_late_in_the_file_names_its_line(
    tmp_path: Path, late: str, line: int, says: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes((LONG + late).encode(errors="surrogateescape"))
    with pytest.raises(TraceError, match=says) as caught:
        read_columns(path)
    # Text is decoded in pieces of 8 KiB, so that a bad byte's line is only about right.
    assert abs(caught.value.line - line) <= (1000 if "UTF-8" in says else 0)


def test_a_gzip_file_cut_off_late_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(LONG.encode())[:-5_000])
    with pytest.raises(TraceError, match="damaged or cut off") as caught:
        read_columns(path)
    assert 1 < caught.value.line <= 30_001


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(TraceError, match="NUL"):
        read_columns("/dev/zero")


def test_a_window_holds_its_start_and_not_its_end() -> None:
    trace = columns_of([0.0, 1.0, 1.0, 2.0, 3.0], isl_tokens=[1, 2, 3, 4, 5])
    assert trace.between(1.0, 2.0).isl_tokens.tolist() == [2, 3]
    assert trace.between(1.5, 9.0).isl_tokens.tolist() == [4, 5]
    assert len(trace.between(2.0, 1.0)) == len(trace.between(5.0, 6.0)) == 0


def test_some_requests_can_be_taken() -> None:
    trace = columns_of([0.0, 1.0, 2.0], classes=["a", "b", None], reuse=[1, -1, 3])
    assert [r.class_name for r in trace.take(np.array([0, 2])).requests()] == ["a", None]
    assert [r.reuse_tokens for r in trace.take(trace.class_codes >= 0).requests()] == [1, None]
