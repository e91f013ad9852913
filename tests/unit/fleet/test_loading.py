"""What a document turns into, and what a file that is none is answered with."""

from pathlib import Path

import pytest

from tests.unit.fleet.documents import MINIMAL, problems_of
from weir.domain.errors import FleetError
from weir.domain.fleet import Role, Statistic, TokenRange
from weir.domain.profile import KvTier
from weir.fleet import load
from weir.fleet.feasible import idle_ttft_s


def _load(folder: Path, text: str, *sets: str):
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load(path, sets)


def test_a_minimal_document_gets_defaults_that_work(tmp_path: Path) -> None:
    loaded = _load(tmp_path, MINIMAL)
    fleet = loaded.fleet
    assert fleet.name == "test"
    assert [pool.role for pool in fleet.pools] == [Role.PREFILL, Role.DECODE]
    pool = fleet.pools[0]
    assert (pool.min_replicas, pool.floor_replicas, pool.guarantee_replicas) == (1, 1, 1)
    assert pool.max_replicas == 8  # what the budget can hold
    assert pool.node_group == fleet.node_groups[0].name
    assert pool.context_limit_tokens == pool.profile.kv_tokens
    assert fleet.node_groups[0].gpus == 8
    assert loaded.router.max_body_bytes == 16 * 2**20
    assert loaded.planner.interval_s == 2.0
    assert loaded.workload.trace is None


def test_a_fleet_without_classes_has_one_generous_class_for_everything(tmp_path: Path) -> None:
    (only,) = _load(tmp_path, MINIMAL).fleet.classes
    assert only.name == "default"
    assert (only.slo.ttft_s, only.slo.itl_s) == (5.0, 0.1)
    assert 1 in only.isl_tokens and 10**9 in only.osl_tokens


def test_milliseconds_and_percent_become_seconds_and_shares(tmp_path: Path) -> None:
    text = f"""{MINIMAL}  classes:
    - {{name: c, isl: {{min: 10, max: 20}}, ttft_ms: 250, itl_ms: 40, percentile: 99, weight: 2}}
"""
    (only,) = _load(tmp_path, text).fleet.classes
    assert only.slo.ttft_s == 0.25
    assert only.slo.itl_s == 0.04
    assert only.slo.percentile == 0.99
    assert only.isl_tokens == TokenRange(low=10, high=20)
    assert only.osl_tokens == TokenRange(low=0, high=None)


def test_profiles_may_keep_kv_elsewhere(tmp_path: Path) -> None:
    tier = "{tokens: 2000000, tokens_per_s: 200000}"
    text = MINIMAL.replace("model: m}", "model: m, profile: e}")
    loaded = _load(tmp_path, f"{text}  profiles: {{e: {{kv_tiers: [{tier}]}}}}\n")
    assert loaded.fleet.pools[0].profile.kv_tiers == (KvTier(tokens=2_000_000, tokens_per_s=2e5),)


def test_targets_may_be_for_means(tmp_path: Path) -> None:
    classes = "  classes: [{name: c, ttft_ms: 250, itl_ms: 40, statistic: mean}]\n"
    (only,) = _load(tmp_path, MINIMAL + classes).fleet.classes
    assert only.slo.statistic is Statistic.MEAN


def test_floor_defaults_to_min_and_guarantee_to_floor(tmp_path: Path) -> None:
    pool = _load(tmp_path, MINIMAL, "pools.p.floor_replicas=2").fleet.pools[0]
    assert (pool.min_replicas, pool.floor_replicas, pool.guarantee_replicas) == (1, 2, 2)


def test_borrowing_bounds_a_pool_and_what_is_not_lent_is_set_aside(tmp_path: Path) -> None:
    sets = ("pools.p.guarantee_replicas=3", "pools.p.borrow_replicas=2", "pools.p.lend_replicas=1")
    pool = _load(tmp_path, MINIMAL, "budget.gpus=16", *sets).fleet.pools[0]
    assert (pool.most_replicas, pool.aside_replicas) == (5, 2)
    unlimited = _load(tmp_path, MINIMAL, "budget.gpus=16", sets[0]).fleet.pools[0]
    assert (unlimited.most_replicas, unlimited.aside_replicas) == (16, 1)


def test_a_pool_that_is_not_scaled_stays_at_its_minimum(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        MINIMAL,
        "pools.p={name: p, role: prefill, model: m, min_replicas: 2, scaling: {kind: none}}",
    )
    pool = loaded.fleet.pools[0]
    assert (pool.min_replicas, pool.max_replicas) == (2, 2)


def test_default_maximum_is_what_the_node_group_holds(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "  pools:", "  nodeGroups: [{name: g, gpuClass: H100, gpus: 5}]\n  pools:"
    )
    pool = _load(tmp_path, text, "pools.p.gpus_per_replica=2").fleet.pools[0]
    assert (pool.node_group, pool.gpu_class, pool.max_replicas) == ("g", "H100", 2)


def test_the_only_gpu_class_of_the_budget_is_that_of_all_pools(tmp_path: Path) -> None:
    fleet = _load(tmp_path, MINIMAL, "budget.gpuClasses={H100: 8}").fleet
    assert {pool.gpu_class for pool in fleet.pools} == {"H100"}


def test_the_trace_is_relative_to_the_document(tmp_path: Path) -> None:
    loaded = _load(tmp_path, MINIMAL, "workload.trace=traces/t.csv")
    assert loaded.workload.trace == tmp_path / "traces/t.csv"


def test_a_key_without_value_is_the_same_as_no_key(tmp_path: Path) -> None:
    loaded = _load(tmp_path, f"{MINIMAL}  router:\n  planner:\n  classes:\n")
    assert loaded.router.queue_timeout_s == 60.0


def test_a_required_key_without_value_is_missing(tmp_path: Path) -> None:
    text = MINIMAL.replace("budget: {gpus: 8}", "budget:")
    assert problems_of(tmp_path, text) == ("line 6: spec.budget: is required",)


def test_scaling_and_timing_of_every_kind_are_read(tmp_path: Path) -> None:
    text = (
        MINIMAL.replace("model: m}", "model: m, profile: t}", 2)
        + """\
  profiles:
    t:
      timing: {kind: table, prefill: [[0, 0.001], [1000, 0.1]], decode: [[1, 0.01], [32, 0.04]]}
      max_batched_tokens: 1000
"""
    )
    profile = _load(tmp_path, text).fleet.pools[0].profile
    assert profile.idle_prefill_s(1000) == pytest.approx(0.1)
    assert profile.timing.decode_time_s(32, 0.5) == pytest.approx(0.04)


def test_idle_ttft_is_prefill_transfer_and_one_iteration(tmp_path: Path) -> None:
    text = (
        MINIMAL.replace("model: m}", "model: m, profile: t}", 2)
        + """\
  profiles:
    t:
      timing: {prefill_s: [0, 0.0001], decode_s: [0.02]}
      max_batched_tokens: 1000
      kv_transfer_tokens_per_s: 100000
"""
    )
    fleet = _load(tmp_path, text, "pools.d.context_limit_tokens=5000").fleet
    # 2,000 tokens: 0.2 s of prefill, 0.02 s of transfer, 0.02 s for the first iteration
    assert idle_ttft_s(fleet, fleet.models[0].name, 2000, 100) == pytest.approx(0.24)
    assert idle_ttft_s(fleet, fleet.models[0].name, 4990, 10) is not None
    assert idle_ttft_s(fleet, fleet.models[0].name, 4990, 11) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "line 1: the document is empty"),
        (b"# only a comment\n", "line 1: the document is empty"),
        (b"\x00\x01\x02", "not YAML: character #x0000 is not allowed"),
        (b"a: 1\nb: \xff\xfe", "line 2: not UTF-8 text"),
        (b"a: 1\nb: [1, 2\nc: 3\n", "line 3: not YAML"),
        (b"a: 1\n\tb: 2\n", "line 2: not YAML"),
        (b"a: 1\n---\nb: 2\n", "line 2: not YAML: but found another document"),
        (b"a: *nope\n", "line 1: not YAML: found undefined alias 'nope'"),
        (b"a: &a [*a]\n", "nested more than"),
        (b"&a {<<: *a}\n", "nested more than"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: !!python/object:os.system x\n", "line 1: tag"),
        (b"a: !!int zwei\n", "line 1: 'zwei' is not a usable int"),
        (b"- 1\n- 2\n", "line 1: must be a mapping"),
        (b"just text\n", "line 1: must be a mapping"),
        (b"{}", "line 1: apiVersion: is required"),
        (b"a: 1\na: 2\n", "line 2: key 'a' is already set on line 1"),
        (b"? [1]\n: 2\n", "a key must be plain text"),
        (b"<<: 3\n", "<< takes a mapping"),
        (b"a: 1\n" * 300_000, "is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_fleet_document_is_refused_with_its_place(
    tmp_path: Path, content: bytes, says: str
) -> None:
    assert any(says in problem for problem in problems_of(tmp_path, content))


def test_thousands_of_problems_are_cut_short(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "a: 1\n" * 3000)
    assert len(problems) == 201
    assert problems[-1] == "... and 2799 more"


def test_an_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = problems_of(tmp_path, "\n".join(lines))
    assert "more than 20000 values" in problem


@pytest.mark.parametrize("name", ["missing.yaml", ".", "no\0name"])
def test_a_file_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(FleetError, match=r"cannot be read|is a directory"):
        load(f"{tmp_path}/{name}")


def test_anchors_and_merges_work_and_own_keys_win(tmp_path: Path) -> None:
    text = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  pools:
    - &p {name: p, role: prefill, model: m, max_replicas: 2}
    - <<: *p
      name: d
      role: decode
"""
    pools = _load(tmp_path, text).fleet.pools
    assert [(pool.id, pool.max_replicas) for pool in pools] == [("p", 2), ("d", 2)]


def test_numbers_are_read_as_yaml_1_2_reads_them(tmp_path: Path) -> None:
    text = f"{MINIMAL}  router: {{bytes_per_token: 1e1, queue_timeout_s: 010}}\n"
    router = _load(tmp_path, text).router
    assert (router.bytes_per_token, router.queue_timeout_s) == (10.0, 10.0)


def test_yes_is_text_not_a_boolean(tmp_path: Path) -> None:
    text = f"{MINIMAL}  profiles: {{t: {{chunked_prefill: yes}}}}\n"
    (problem,) = problems_of(tmp_path, text)
    assert "spec.profiles.t.chunked_prefill: must be true or false, not 'yes'" in problem
