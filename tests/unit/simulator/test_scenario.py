"""Which class each row of a trace is of."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import exact_fleet
from weir.simulator.inputs import Inputs

TRACE = """\
timestamp_s,isl,osl,tenant
0,100,10,acme
1,100,10,other
2,100,10,
3,1000,10,acme
"""


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("tenant", ["gold", "short", "short", "long"]),
        (None, ["short", "short", "short", "long"]),  # routers are not told of tenants
    ],
)
def test_a_row_is_of_the_class_that_its_tenant_and_lengths_make(
    tmp_path: Path, column: str | None, names: list[str]
) -> None:
    (tmp_path / "trace.csv").write_text(TRACE)
    target = "ttft_ms: 500, itl_ms: 50"
    gold = f"{{name: gold, isl: {{max: 950}}, {target}, only: {{tenants: [acme]}}}}"
    slow = f"{{name: slow, {target}, only: {{ttft_ms: {{min: 5000}}}}}}"
    short = f"{{name: short, isl: {{max: 950}}, {target}}}"
    classes = f"classes=[{gold}, {slow}, {short}, {{name: long, {target}}}]"
    loaded = exact_fleet(tmp_path, classes)
    inputs = Inputs(
        loaded=loaded, trace=tmp_path / "trace.csv", tenant_column=column, from_s=0.0, to_s=9.0
    )
    index = inputs.scenario(0).class_index
    assert [loaded.fleet.classes[i].name for i in index] == names
