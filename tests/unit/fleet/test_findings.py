"""Every kind of mistake, with its line, its path and what to mend."""

from pathlib import Path

import pytest

from tests.unit.fleet.documents import MINIMAL, problems_of
from weir.fleet import Level, check, inspect, load

FULL = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models:
    - {name: m, aliases: [alias]}
  classes:
    - {name: short, isl: {max: 1000}, ttft_ms: 2000, itl_ms: 50}
    - {name: rest, ttft_ms: 9000, itl_ms: 50}
  budget: {gpus: 8}
  profiles:
    e:
      timing: {prefill_s: [0, 0.0002], decode_s: [0.02]}
      max_batched_tokens: 2000
      kv_tokens: 100000
  pools:
    - {name: p, role: prefill, model: m, profile: e, max_replicas: 4}
    - {name: d, role: decode, model: m, profile: e, max_replicas: 4}
"""


def _warnings(folder: Path, *sets: str, text: str = FULL) -> list[str]:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return [str(found) for found in check(load(path, sets))]


def test_a_sound_fleet_has_no_findings(tmp_path: Path) -> None:
    assert _warnings(tmp_path) == []


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
apiVersion: weir.dev/v2
kind: Flock
metadata: {name: Not A Name}
spec:
  models: [{name: m}, {name: m}]
  budgte: {gpus: 8}
  classes:
    - {name: c, isl: {min: 20, max: 10}, ttft_ms: -1, itl_ms: .inf, percentile: 101}
  pools:
    - {name: p, role: prefil, model: n, max_replicas: 2.5}
    - {name: p, role: decode, model: m, min_replicas: 5, max_replicas: 4}
"""
    assert problems_of(tmp_path, text) == (
        "line 1: apiVersion: must be 'weir.dev/v1alpha1', not 'weir.dev/v2'",
        "line 2: kind: must be 'Fleet', not 'Flock'",
        "line 3: metadata.name: must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$, not 'Not A Name'",
        "line 4: spec.budget: is required",
        "line 5: spec.models.m.name: 'm' already names the model 'm'",
        "line 6: spec.budgte: unknown key (did you mean 'budget'?)",
        "line 8: spec.classes.c.ttft_ms: must be greater than 0, not -1",
        "line 8: spec.classes.c.itl_ms: must be a finite number, not inf",
        "line 8: spec.classes.c.percentile: must be at most 99.9, not 101",
        "line 8: spec.classes.c.isl: holds nothing: max (10, excluded) must be above min (20)",
        "line 10: spec.pools.p.role: must be 'prefill', 'decode' or 'agg', not 'prefil'",
        "line 10: spec.pools.p.max_replicas: must be a whole number, not 2.5",
        "line 10: spec.pools.p.model: no model is named 'n' (known: m)",
        "line 11: spec.pools.p.name: the name 'p' is used twice",
        "line 11: spec.pools.p.max_replicas: min <= floor <= guarantee <= max must hold, "
        "but min_replicas is 5 and max_replicas is 4",
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pools.p.model=alias", "no model is named 'alias'"),
        ("pools.p.profile=f", "no profile is named 'f' (known: e)"),
        ("pools.p.nodeGroup=g", "no node group is named 'g' (there is no node group at all)"),
        ("router={tokenizers: {n: n.json}}", "no model has this name (known: m)"),
        ("models.m.aliases=[m]", "'m' already names the model 'm'"),
        ("models.m.canary={m: 0.1}", "spec.models.m.canary.m: a model cannot be its own canary"),
        ("models.m.canary={n: 0.1}", "no model is named 'n' (known: m)"),
        ("models.m.canary={n: 0.6, o: 0.6}", "the shares sum to 1.2"),
        ("models.m.canary={n: 1.5}", "must be at most 1, not 1.5"),
        (
            "classes=[{name: c, ttft_ms: 1, itl_ms: 1, on_request: true}]",
            "one that goes by lengths",
        ),
        (
            "classes=[{name: c, ttft_ms: 1, itl_ms: 1, only: {tenants: [t]}}]",
            "one that goes by lengths",
        ),
        ("classes.short.only={}", "names nobody"),
        ("classes.short.only={ttft_ms: {min: 2.5, max: 1}}", "holds nothing"),
        ("classes.short.only={tenants: [a b]}", "must match"),
        ("router.hints.tighten_to=0", "must be greater than 0, not 0"),
        ("classes.rest.name=short", "the name 'short' is used twice"),
        ("budget.gpuClasses={A: 1, B: 2}", "several GPU classes need `nodeGroups`"),
        ("pools.p.floor_replicas=5", "floor_replicas is 5 and max_replicas is 4"),
        (
            "pools.p={name: p, role: prefill, model: m, floor_replicas: 2, scaling: {kind: none}}",
            "floor_replicas is 2 and max_replicas is 1",
        ),
        ("pools.p.scaling={kind: helm}", "must be of kind 'local', 'none', not 'helm'"),
        ("pools.p.scaling={}", "needs a `kind`"),
        ("pools.p.min_replicas=true", "must be a whole number, not True"),
        ("pools.p.min_replicas='1'", "must be a whole number, not '1'"),
        ("pools.p.min_replicas=-1", "must be at least 0, not -1"),
        ("pools.p.gpus_per_replica=99999999", "must be at most 1000000, not 99999999"),
        ("pools.p.name=Pool_A", "must match"),
        ("pools=[]", "must have at least 1 item(s)"),
        ("pools=none", "must be a list, not 'none'"),
        ("profiles.e=fast", "must be a mapping of keys to values"),
        ("profiles={'a b': {}}", "the name must match"),
        ("profiles.e.timing.kind=cubic", "spec.profiles.e.timing: must be of kind"),
        ("profiles.e.timing={kind: table, prefill: [[1, 1]], decode: [[0, 1], [1, 1]]}", "2 item"),
        (
            "profiles.e.timing={kind: table, prefill: [[2, 1], [1, 1]], decode: [[0, 1], [1, 1]]}",
            "prefill must ascend",
        ),
        ("profiles.e.kv_tokens=8", "kv_tokens must hold at least one block"),
        ("profiles.e.timing.prefill_s=[0]", "prefill of 1 tokens takes no time"),
        ("profiles.e.timing.prefill_s=[1, -0.01]", "takes no time"),
        ("profiles.e.timing.prefill_s=[]", "must have at least 1 item"),
        ("planner.utilization=1.5", "must be at most 1, not 1.5"),
        ("router.max_body_bytes=1e6", "must be a whole number, not 1000000.0"),
        ("metadata.name=null", "metadata.name: is required"),
        ("pools.p.dialect=sglang", "must be 'vllm', not 'sglang'"),
    ],
)
def test_a_single_mistake_is_named(tmp_path: Path, override: str, says: str) -> None:
    problems = problems_of(tmp_path, FULL, [override])
    assert any(says in problem for problem in problems), problems
    assert all(problem.startswith(("--set ", "line ")) for problem in problems)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("budget.gpus=1", "spec.budget.gpus: the pools' floors need 2 GPUs (p 1x1, d 1x1)"),
        ("pools.p.gpus_per_replica=9", "the pools' floors need 10 GPUs (p 1x9, d 1x1)"),
        ("budget.gpuClasses={H100: 1}", "spec.budget.gpuClasses.H100: the pools' floors need 2"),
        ("pools.d.role=prefill", "spec.models.m: model 'm' cannot be served: it has "
         "prefill pools (p, d) but no decode pool"),
        ("pools.p.role=decode", "it has decode pools (p, d) but no prefill pool"),
        ("pools.d.role=agg", "spec.pools.p: unreachable: model 'm' has no decode pool"),
        ("pools.p.role=agg", "spec.pools.d: unreachable: model 'm' has no prefill pool"),
        ("models=[{name: m}, {name: n}]", "model 'n' cannot be served: no pool serves it"),
        ("classes.short.ttft_ms=20", "spec.classes.short: no pool can serve it within its "
         "SLO: idle, at ISL 1, the best TTFT is 20.2 ms (target 20 ms)"),
        ("classes.short.itl_ms=19", "the best ITL 20 ms (target 19 ms)"),
        ("classes.rest.isl.min=200000", "context gap: no pool holds its shortest request of "
         "200000 + 1 tokens (longest context 100000)"),
        ("pools.p.context_limit_tokens=1", "spec.pools.p: unreachable: no class has a request"),
        ("pools.p.context_limit_tokens=200000", "do not fit the profile's KV space of 100000"),
        ("profiles.e.chunked_prefill=false", "never fits an iteration of 2000"),
        ("classes.short.isl.max=null", "spec.classes.rest: never matches"),
    ],
)  # fmt: skip
def test_a_fleet_that_cannot_work_is_refused(tmp_path: Path, override: str, says: str) -> None:
    problems = problems_of(tmp_path, FULL, [override])
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "pools.p.scaling={kind: none}",
            "max_replicas: is ignored: scaling none keeps the pool at 1",
        ),
        ("pools.p.max_replicas=9", "the budget has GPUs for 8 replicas, not for 9"),
        ("workload.trace=none.csv", "spec.workload.trace: there is no file"),
        ("classes.rest.isl.max=150000", "context gap: requests of up to 149999 + 1 tokens"),
        ("classes.rest.isl.max=90000", "prompts of 89999 tokens are in the class, but no idle"),
        ("classes.rest.osl.min=10", "no class holds requests of ISL 1000 and more and OSL 1 to 9"),
    ],
)
def test_a_doubtful_fleet_can_be_used_with_a_warning(
    tmp_path: Path, override: str, says: str
) -> None:
    warnings = _warnings(tmp_path, override)
    assert any(says in warning for warning in warnings), warnings


def test_a_guarantee_that_is_not_lent_must_fit_as_a_floor_does(tmp_path: Path) -> None:
    sets = ["pools.p.guarantee_replicas=4", "budget.gpus=4"]
    problems = problems_of(tmp_path, FULL, [*sets, "pools.p.lend_replicas=0"])
    says = "the pools' floors and what is not lent need 5 GPUs (p 4x1, d 1x1), the budget has 4"
    assert any(says in problem for problem in problems), problems


def test_guarantees_beyond_the_budget_are_a_warning(tmp_path: Path) -> None:
    warnings = _warnings(tmp_path, "pools.p.guarantee_replicas=4", "budget.gpus=4")
    assert any("the guarantees need 5 GPUs, the budget has 4" in w for w in warnings)


def test_classes_that_cross_are_a_warning(tmp_path: Path) -> None:
    warnings = _warnings(
        tmp_path,
        "classes.rest={name: rest, isl: {min: 500, max: 2000}, ttft_ms: 2000, itl_ms: 50}",
    )
    assert any("overlaps 'short' in part; what both hold is 'short'" in w for w in warnings)
    assert any("no class holds requests of ISL 2000 and more and OSL 1" in w for w in warnings)


def test_unused_profiles_and_node_groups_are_warnings(tmp_path: Path) -> None:
    text = FULL.replace("  pools:", "    spare: {}\n  pools:") + (
        "  nodeGroups: [{name: a, gpuClass: H, gpus: 8}, {name: b, gpuClass: H, gpus: 8}]\n"
    )
    text = text.replace("profile: e,", "profile: e, nodeGroup: a,")
    assert _warnings(tmp_path, text=text) == [
        "line 16: spec.profiles.spare: no pool uses it",
        "line 20: spec.nodeGroups.b: no pool runs in it",
    ]


def test_several_node_groups_make_the_pools_say_which(tmp_path: Path) -> None:
    text = FULL + (
        "  nodeGroups: [{name: a, gpuClass: H, gpus: 8}, {name: b, gpuClass: H, gpus: 1}]\n"
    )
    problems = problems_of(tmp_path, text)
    assert problems[0] == (
        "line 17: spec.pools.p.nodeGroup: is required, since there are several: a, b"
    )


def test_floors_beyond_a_node_group_and_replicas_larger_than_it_are_refused(
    tmp_path: Path,
) -> None:
    text = FULL + "  nodeGroups: [{name: a, gpuClass: H, gpus: 3}]\n"
    floors = problems_of(tmp_path, text, ["pools.p.floor_replicas=3"])
    assert any("node group a has 3" in problem for problem in floors)
    large = problems_of(tmp_path, text, ["pools.p.gpus_per_replica=4", "pools.p.min_replicas=0"])
    assert any("one replica needs 4 GPUs, node group a has 3" in problem for problem in large)


def test_a_class_that_one_of_two_models_cannot_serve_is_a_warning(tmp_path: Path) -> None:
    text = FULL.replace("  classes:", "    - {name: n}\n  classes:") + (
        "    - {name: slow, role: agg, model: n, profile: slow, max_replicas: 2}\n"
    )
    text = text.replace(
        "  pools:", "    slow: {timing: {prefill_s: [3], decode_s: [0.01]}}\n  pools:"
    )
    warnings = _warnings(tmp_path, text=text)
    assert any("spec.classes.short: model 'n': no pool can serve it within" in w for w in warnings)
    assert not any("spec.pools.slow" in w for w in warnings)  # class `rest` is served there


def test_inspect_returns_errors_and_warnings_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FULL)
    loaded, findings = inspect(path, ["pools.p.max_replicas=9", "budget.gpus=1"])
    assert loaded is None
    assert findings[0].level is Level.ERROR
    assert findings[0].line is None  # it came from an override
    assert findings[0].place == "--set budget.gpus=1"
    assert {found.level for found in findings} == {Level.ERROR, Level.WARNING}


def test_load_reports_errors_only(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, FULL, ["pools.p.max_replicas=9", "pools.d.role=agg"])
    assert all("unreachable" in problem for problem in problems)


def test_the_default_class_is_named_when_it_cannot_be_served(tmp_path: Path) -> None:
    text = FULL.replace("decode_s: [0.02]", "decode_s: [0.2]")
    start, end = text.index("  classes:"), text.index("  budget:")
    (problem,) = problems_of(tmp_path, text[:start] + text[end:])
    assert "spec.classes: the default class: no pool can serve it within its SLO" in problem


def test_a_minimal_document_has_no_findings(tmp_path: Path) -> None:
    assert _warnings(tmp_path, text=MINIMAL) == []


def test_a_percentile_beside_the_mean_is_named(tmp_path: Path) -> None:
    item = "name: c, ttft_ms: 5000, itl_ms: 100, statistic: mean"
    text = MINIMAL + f"  classes: [{{{item}, percentile: 99}}]\n"
    (warning,) = _warnings(tmp_path, text=text)
    assert "spec.classes.c.percentile: with statistic: mean" in warning
    assert _warnings(tmp_path, text=MINIMAL + f"  classes: [{{{item}}}]\n") == []


def test_a_list_whose_only_item_is_wrong_is_not_called_empty(tmp_path: Path) -> None:
    text = MINIMAL.replace("models: [{name: m}]", "models: [{name: m, alias: x}]")
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("line 5: spec.models.m.alias: unknown key")


def test_a_class_on_request_takes_nothing_from_others_and_needs_nothing_left(
    tmp_path: Path,
) -> None:
    batch = "{name: batch, ttft_ms: 9000, itl_ms: 50, on_request: true}"
    short = "{name: short, isl: {max: 1000}, ttft_ms: 2000, itl_ms: 50}"
    rest = "{name: rest, ttft_ms: 9000, itl_ms: 50}"
    assert _warnings(tmp_path, f"classes=[{batch}, {short}, {rest}]") == []
    assert _warnings(tmp_path, f"classes=[{short}, {rest}, {batch}]") == []
    (warning,) = _warnings(tmp_path, f"classes=[{short}, {batch}]")
    assert "they count as 'short', the last" in warning


def test_a_class_for_some_takes_nothing_from_others(tmp_path: Path) -> None:
    gold = "{name: gold, ttft_ms: 300, itl_ms: 50, only: {tenants: [acme]}}"
    short = "{name: short, isl: {max: 1000}, ttft_ms: 2000, itl_ms: 50}"
    rest = "{name: rest, ttft_ms: 9000, itl_ms: 50}"
    assert _warnings(tmp_path, f"classes=[{gold}, {short}, {rest}]") == []
    (warning,) = _warnings(tmp_path, f"classes=[{short}, {gold}]")
    assert "they count as 'short', the last" in warning


def test_kv_events_that_nobody_reads(tmp_path: Path) -> None:
    told = "kv_events: {port: 5557, replay_port: 5558, per_worker: true}"
    text = FULL.replace("max_replicas: 4}", f"max_replicas: 4, {told}}}")
    assert _warnings(tmp_path, text=text) == [
        "line 18: spec.pools.d.kv_events: are not read: prompts leave nothing there that others"
        " could use"
    ]
    pool = load(tmp_path / "fleet.yaml").fleet.pools[0]
    assert pool.kv_events is not None and pool.kv_events.ports(8000) == (13_557, 13_558)
