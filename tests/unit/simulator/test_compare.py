"""Several policies side by side."""

from pathlib import Path

from tests.unit.simulator.worlds import scenario
from weir.simulator.compare import comparison_text
from weir.simulator.run import simulate
from weir.simulator.summarize import summarize


def test_each_policy_has_a_line_in_the_order_given(tmp_path: Path) -> None:
    small = scenario(tmp_path, [(1.0, 500, 11), (1.1, 400, 11)], to_s=100.0)
    summaries = {
        name: summarize(simulate(small, name), wall_s=1.0, cpu_s=0.5)
        for name in ("static:2", "static:1")
    }
    header, two, one = comparison_text(summaries).splitlines()
    assert header.startswith("policy")
    assert two.split()[0] == "static:2"
    assert one.split()[0] == "static:1"
    assert "0.17" in two
    assert "100.00%" in two


def test_a_scenario_can_be_simulated_again_and_again(tmp_path: Path) -> None:
    small = scenario(tmp_path, [(1.0, 500, 11), (1.1, 400, 11)], to_s=100.0)
    first, _, again = (
        summarize(simulate(small, name), wall_s=0.0, cpu_s=0.0)
        for name in ("static:1", "static:2", "static:1")
    )
    assert again == first
