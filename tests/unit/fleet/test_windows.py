"""Budget windows of the document: what they turn into, and what is wrong with some."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.unit.fleet.documents import MINIMAL, problems_of
from weir.domain.fleet import Budget, Fleet
from weir.domain.schedule import BudgetWindow, TimeZone
from weir.fleet import check, load
from weir.fleet.schedule import zone_of

NIGHT = "{from: 22:00, to: 06:00, timezone: Europe/Berlin, gpus: 4}"


def with_windows(*windows: str, gpus: str = "8") -> str:
    return MINIMAL.replace("{gpus: 8}", f"{{gpus: {gpus}, windows: [{', '.join(windows)}]}}")


def fleet_with(folder: Path, *windows: str) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(with_windows(*windows))
    return load(path).fleet


def test_a_window_is_hours_of_some_days_in_a_time_zone(tmp_path: Path) -> None:
    text = "{days: [mon, sun], from: 22:30, to: 06:00, timezone: Europe/Berlin, gpus: 4}"
    (window,) = fleet_with(tmp_path, text).budget.windows
    assert window.days == {0, 6}
    assert (window.from_s, window.to_s) == (22 * 3600 + 1800, 6 * 3600)
    assert (window.gpus, window.by_gpu_class) == (4, {})
    assert window.name == "mon,sun 22:30-06:00 Europe/Berlin"


def test_by_default_a_window_is_on_all_days_in_utc(tmp_path: Path) -> None:
    (window,) = fleet_with(tmp_path, "{from: 00:00, to: 24:00, gpus: 4}").budget.windows
    assert window.days == set(range(7))
    assert window.zone.offsets_s == (0.0,)
    assert window.length_s == 86_400


def test_pools_without_a_maximum_can_use_the_largest_budget_of_the_week(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path, "{from: 20:00, to: 24:00, gpus: 12}", NIGHT)
    assert {pool.max_replicas for pool in fleet.pools} == {12}
    assert [(group.gpus, group.implied) for group in fleet.node_groups] == [(12, True)]


def test_the_widest_budget_is_the_most_of_each_limit_at_any_time() -> None:
    zone = TimeZone(name="UTC")
    day = {"days": frozenset({0}), "from_s": 0, "to_s": 60, "zone": zone}
    budget = Budget(
        gpus=8,
        by_gpu_class={"H100": 4},
        windows=(
            BudgetWindow(name="more", gpus=12, by_gpu_class={"A100": 2}, **day),
            BudgetWindow(name="less", gpus=3, by_gpu_class={"H100": 6}, **day),
        ),
    )
    assert budget.widest == Budget(gpus=12, by_gpu_class={"H100": 6})
    assert Budget(gpus=8).widest == Budget(gpus=8)


def test_floors_must_fit_in_every_window(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, with_windows("{from: 01:00, to: 02:00, gpus: 1}"))
    assert problem == (
        "line 6: spec.budget.windows.0.gpus: the pools' floors need 2 GPUs (p 1x1, d 1x1), the "
        "budget in the window 01:00-02:00 UTC has 1; lower a floor or raise it"
    )


def test_floors_must_fit_a_gpu_class_in_every_window(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, with_windows("{from: 1:00, to: 2:00}"))
    assert len(problems) == 2 and all("must match" in problem for problem in problems)
    (problem,) = problems_of(
        tmp_path, with_windows("{from: 01:00, to: 02:00, gpuClasses: {H100: 1}}")
    )
    assert "the budget of GPU class H100 in the window 01:00-02:00 UTC has 1" in problem


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("{from: 01:00, to: 02:00, timezone: Europe/Nowhere}", "no time zone 'Europe/Nowhere'"),
        ("{from: 01:00, to: 02:00, timezone: ../secret}", "no time zone '../secret'"),
        ("{from: 24:00, to: 02:00}", "must match"),
        ("{from: 01:00, to: 02:60}", "must match"),
        ("{to: 02:00}", "from: is required"),
        ("{from: 01:00, to: 02:00, days: []}", "at least 1 item"),
        ("{from: 01:00, to: 02:00, days: [monday]}", "must be 'mon', 'tue'"),
        ("{from: 01:00, to: 02:00, gpus: 0}", "must be at least 1"),
        ("{from: 01:00, to: 02:00, gpu: 3}", "unknown key (did you mean 'gpus'?)"),
    ],
)
def test_a_window_that_is_none_is_refused(tmp_path: Path, window: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, with_windows(window))
    assert "spec.budget.windows.0" in problem and said in problem


def test_a_window_may_only_limit_gpu_classes_that_are_there(tmp_path: Path) -> None:
    text = with_windows("{from: 01:00, to: 02:00, gpuClasses: {A100: 3}}")
    text += "  nodeGroups: [{name: n, gpuClass: H100, gpus: 8}]\n"
    (problem,) = problems_of(tmp_path, text)
    assert "no node group has this GPU class (did you mean 'H100'?)" in problem


def test_windows_that_never_count_or_change_nothing_are_doubtful(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(with_windows(NIGHT, NIGHT.replace("22", "23"), "{from: 10:00, to: 11:00}"))
    found = [(item.path, item.message.split(":")[0]) for item in check(load(path))]
    assert found == [
        ("spec.budget.windows.1", "never counts"),
        ("spec.budget.windows.2", "changes nothing"),
    ]


def test_a_time_zone_says_when_its_clocks_are_changed() -> None:
    zone = zone_of("Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    summer = datetime(2027, 3, 28, 3, 0, tzinfo=berlin).timestamp()
    index = zone.since_unix_s.index(summer)
    assert zone.offsets_s[index - 1 : index + 2] == (3600.0, 7200.0, 3600.0)
