"""Workloads in words: what they make, what is refused and how it says so."""

from pathlib import Path

import pytest

from weir.domain.errors import TraceError, WorkloadError
from weir.workload import TraceColumns, workload_of

PLAIN = "poisson:rate=6,isl=700,osl=180,for=600"


def times(trace: TraceColumns) -> list[float]:
    return [float(time_s) for time_s in trace.timestamp_s]


def test_a_recipe_makes_requests() -> None:
    trace = workload_of(PLAIN)
    assert len(trace) == pytest.approx(3600, abs=240)
    assert set(trace.isl_tokens.tolist()) == {700}
    assert set(trace.osl_tokens.tolist()) == {180}
    assert trace.timestamp_s[-1] < 600.0


def test_the_seed_decides() -> None:
    assert times(workload_of(PLAIN, seed=-1)) == times(workload_of(PLAIN, seed=-1))
    assert times(workload_of(PLAIN, seed=1)) != times(workload_of(PLAIN, seed=2))


def test_bursts_burstiness_noise_and_spread_are_understood() -> None:
    burst = workload_of("constant:rate=10,isl=9,osl=9,for=600,burst=5@300+120,burst=2@10+20")
    assert len(burst.between(310.0, 420.0)) == pytest.approx(5500, abs=1)
    assert len(burst.between(20.0, 30.0)) == pytest.approx(200, abs=1)
    even = workload_of("constant:rate=10,noise=0.1,isl=9,osl=9,for=60")
    assert len(even) == pytest.approx(600, abs=10)
    assert len(workload_of("bursty:rate=10,cv=4,isl=9,osl=9,for=600")) > 4000
    spread = workload_of("poisson:rate=10,isl=900,isl_cv=1,osl=90,osl_cv=0.5,for=600")
    assert spread.isl_tokens.std() > 500.0
    assert 20.0 < spread.osl_tokens.std() < 90.0


def test_requests_can_be_drawn_from_a_trace_with_their_tenants(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("timestamp_s,isl,osl,class\n0,1,10,a\n1,2,20,b\n")
    recipe = f"poisson:rate=5,for=60,lengths={path}"
    drawn = workload_of(recipe, tenant_column="class").requests()
    assert {(r.isl_tokens, r.osl_tokens, r.tenant) for r in drawn} == {(1, 10, "a"), (2, 20, "b")}


def test_anything_else_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("timestamp_s,isl,osl\n0,1,10\n")
    assert len(workload_of(path)) == len(workload_of(str(path))) == 1
    with pytest.raises(TraceError, match="cannot be read"):
        workload_of("c:trace.csv")


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("poison:rate=6", "there is no generator poison, only poisson, bursty, constant"),
        ("poisson:", "rate must be given, as rate=NUMBER"),
        ("poisson:rate=6,isl=1,osl=1", "for must be given"),
        ("poisson:rate=6,for=9,osl=1", "isl must be given"),
        ("bursty:rate=6,for=9,isl=1,osl=1", "cv must be given"),
        ("poisson:rate=6,cv=2", "poisson knows no 'cv'; keys are rate, for, isl"),
        ("poisson:6", "'6' is not KEY=VALUE"),
        ("poisson:rate=", "'rate=' is not KEY=VALUE"),
        ("poisson:rate=six,for=9", "rate must be a number, not 'six'"),
        ("poisson:rate=0,for=9", "rate must be above 0"),
        ("poisson:rate=nan,for=9", "rate must be above 0"),
        ("poisson:rate=1,rate=2", "rate is given twice"),
        ("bursty:rate=6,cv=99,for=9", "cv must be above 0 and at most 20"),
        ("constant:rate=6,noise=-1,for=9", "noise must be at least 0 and at most 1"),
        ("poisson:rate=6,for=9,isl=0,osl=1", "isl must be at least 1"),
        ("poisson:rate=6,for=9,isl=1,osl=1,burst=5", "not FACTOR@START+SECONDS"),
        ("poisson:rate=6,for=9,isl=1,osl=1,burst=x@1+1", "factor of burst=x@1+1 must be a number"),
        ("poisson:rate=1e6,for=1e6,isl=1,osl=1", "requests are due, more than"),
        ("poisson:rate=1e-6,for=1e-3,isl=1,osl=1", "makes no request; raise rate or for"),
        ("poisson:rate=1,for=9,isl=1,lengths=x.csv", "lengths=x.csv and isl cannot both be"),
    ],
)
def test_a_bad_recipe_is_told_with_what_to_mend(recipe: str, says: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        workload_of(recipe)
    assert str(caught.value).startswith(f"{recipe}: ")
    assert says in str(caught.value)


def test_a_recipe_has_no_column_for_tenants() -> None:
    with pytest.raises(WorkloadError, match="no column 'class' to take tenants from"):
        workload_of(PLAIN, tenant_column="class")
