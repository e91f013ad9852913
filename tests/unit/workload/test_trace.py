"""Traces: what is read, what is refused and how it says so."""

import gc
import gzip
import os
import threading
from pathlib import Path

import pytest

from weir.domain.errors import TraceError
from weir.workload import TraceRequest, read_trace, write_trace

GOOD = "timestamp_s,isl,osl\n0.0,10,5\n1.5,20,6\n"


def _write(folder: Path, content: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_become_requests(tmp_path: Path) -> None:
    assert read_trace(_write(tmp_path, GOOD)) == [
        TraceRequest(timestamp_s=0.0, isl_tokens=10, osl_tokens=5),
        TraceRequest(timestamp_s=1.5, isl_tokens=20, osl_tokens=6),
    ]


def test_gzip_is_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    packed = _write(tmp_path, gzip.compress(GOOD.encode()), "packed.csv")
    plain = _write(tmp_path, GOOD, "plain.csv.gz")
    assert read_trace(packed) == read_trace(plain)


def test_columns_may_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    text = "Tenant, osl ,note,ISL,reuse_tok,class,timestamp_s\nacme,5,x,10,,chat,3\n,6,,7,2,,4\n"
    assert read_trace(_write(tmp_path, text)) == [
        TraceRequest(
            timestamp_s=3.0, isl_tokens=10, osl_tokens=5, class_name="chat", tenant="acme"
        ),
        TraceRequest(timestamp_s=4.0, isl_tokens=7, osl_tokens=6, reuse_tokens=2),
    ]


def test_rows_are_sorted_by_time_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    text = "timestamp_s,isl,osl\n2,1,1\n1,2,1\n2,3,1\n1,4,1\n"
    assert [r.isl_tokens for r in read_trace(_write(tmp_path, text))] == [2, 4, 1, 3]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD + "\n\n",
        GOOD.replace("10", "10.0"),
        GOOD.rstrip("\n"),
        GOOD.replace("20", '"20"'),
    ],
    ids=["byte order mark", "CRLF", "blank lines", "10.0", "no last newline", "quotes"],
)
def test_usual_variants_of_csv_are_read_alike(tmp_path: Path, text: str) -> None:
    assert [r.isl_tokens for r in read_trace(_write(tmp_path, text))] == [10, 20]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("x,10,5", "timestamp_s must be a number, not 'x'"),
        ("2023-11-16 18:15:46,10,5", "timestamp_s must be a number"),
        ("nan,10,5", "timestamp_s must be a finite number >= 0, not nan"),
        ("inf,10,5", "timestamp_s must be a finite number >= 0, not inf"),
        ("-1,10,5", "timestamp_s must be a finite number >= 0, not -1"),
        ("1700000000,10,5", "subtract the first timestamp"),
        ("1,,5", "isl must be a number, not ''"),
        ("1,0,5", "isl must be a whole number of tokens from 1 to 10000000, not 0"),
        ("1,-3,5", "isl must be a finite number >= 0, not -3"),
        ("1,2.5,5", "isl must be a whole number"),
        ("1,1e12,5", "isl must be a whole number"),
        ("1,ten,5", "isl must be a number, not 'ten'"),
        ("1,10,0", "osl must be a whole number of tokens from 1"),
        ("1,10,nan", "osl must be a finite number"),
        ("1,10", "has 2 values, the header names 3"),
        ("1,10,5,6", "has 4 values, the header names 3"),
        ('1,"10,5', "not CSV: unexpected end of data"),
        ('1,"1"0,5', "not CSV"),
        ("1,10,5\0", "holds a NUL byte"),
        ("1," + "9" * 200_000 + ",5", "longer than 65536 characters"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str, says: str) -> None:
    path = _write(tmp_path, f"timestamp_s,isl,osl\n0,1,1\n{row}\n")
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:3: ") or "end of data" in says
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ":1: the file is empty"),
        (b"timestamp_s,isl,osl\n", ":2: no rows after the header"),
        (b"timestamp_s,isl\n1,2\n", ":1: no column osl; the first line must name at least"),
        (b"1,2,3\n4,5,6\n", ":1: no column timestamp_s, isl, osl"),
        (b"isl,osl,timestamp_s,isl\n1,2,3,4\n", ":1: column isl is there 2 times"),
        (b"\n\n\n", ":1: no column"),
        (b"timestamp_s,isl,osl\n1,2,3\n\xff\xfe\xfa\n", ": not UTF-8 text"),
        (bytes(range(256)) * 4, ": "),
        (
            gzip.compress(GOOD.encode() + b"2,3,4\n" * 500)[:-20],
            ": the gzip data is damaged or cut off",
        ),
        (gzip.compress(GOOD.encode())[:12], ":1: the gzip data is damaged or cut off"),
        (b"\x1f\x8b" + b"junk" * 10, ":1: the gzip data is damaged or cut off"),
        (gzip.compress(b""), ":1: the file is empty"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:")
    assert says in str(caught.value)


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(GOOD.encode()),))
    writer.start()
    assert len(read_trace(pipe)) == 2
    writer.join(timeout=10)


@pytest.mark.filterwarnings("error")
def test_no_file_is_left_open(tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        read_trace(_write(tmp_path, gzip.compress(b"x")))
    gc.collect()


@pytest.mark.parametrize("name", ["missing.csv", "", "no\0name"])
def test_a_file_that_cannot_be_opened_is_a_trace_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    requests = [
        TraceRequest(timestamp_s=0.125, isl_tokens=3, osl_tokens=4, tenant="a,b"),
        TraceRequest(timestamp_s=7.0, isl_tokens=5, osl_tokens=6, reuse_tokens=0),
    ]
    path = tmp_path / name
    write_trace(path, requests)
    first = path.read_bytes()
    assert read_trace(path) == requests
    write_trace(path, requests)
    assert path.read_bytes() == first
