"""What `weir check` says of power."""

from pathlib import Path

from tests.unit.fleet.documents import problems_of
from weir.fleet import check, load

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  budget:
    gpus: 8
    power_w: 4000
    windows: [{from: 00:00, to: 06:00, power_w: 2000}]
  nodeGroups: [{name: n, gpuClass: H100, gpus: 8, power_w: 3500}]
  pools:
    - {name: a, role: agg, model: m, gpus_per_replica: 2, power_w_per_gpu: 700}
"""


def test_power_budgets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    loaded = load(path)
    assert check(loaded) == []
    fleet = loaded.fleet
    assert (fleet.budget.power_w, fleet.budget.windows[0].power_w) == (4000, 2000)
    assert (fleet.node_groups[0].power_w, fleet.pools[0].power_w_per_gpu) == (3500, 700)


def test_floors_must_fit_the_power_everywhere_and_in_every_window(tmp_path: Path) -> None:
    assert problems_of(tmp_path, FLEET, ["spec.pools.0.min_replicas=3"]) == (
        "line 8: spec.budget.power_w: the pools' floors need 4200 W (a 3x1400), the power budget "
        "has 4000; lower a floor or raise it",
        "line 9: spec.budget.windows.0.power_w: the pools' floors need 4200 W (a 3x1400), the "
        "power budget in the window 00:00-06:00 UTC has 2000; lower a floor or raise it",
        "line 10: spec.nodeGroups.n.power_w: the pools' floors need 4200 W (a 3x1400), the power "
        "of node group n has 3500; lower a floor or raise it",
    )


def test_nobody_may_draw_an_unknown_power_where_it_is_limited(tmp_path: Path) -> None:
    text = FLEET.replace(", power_w_per_gpu: 700", "")
    message = "line 12: spec.pools.a: power is limited here: give `power_w_per_gpu`, watts"
    assert problems_of(tmp_path, text) == (f"{message} of a GPU under load",)


def test_a_maximum_that_the_power_does_not_hold_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    (found, _) = check(load(path, ["spec.pools.0.max_replicas=3"]))
    assert str(found).endswith("the power budget has W for 2 replicas, not for 3")
