"""Pools that Dynamo planners size: by which names they are known, and what has to be sound."""

from pathlib import Path

import pytest

from tests.unit.fleet.documents import MINIMAL, problems_of
from weir.domain.dynamo import DynamoDeployment, DynamoRules
from weir.fleet import check, load


def _pools(prefill: str, decode: str) -> str:
    return MINIMAL.replace(
        "role: prefill, model: m", f"role: prefill, model: m, {prefill}"
    ).replace("role: decode, model: m", f"role: decode, model: m, {decode}")


def _load(folder: Path, text: str, *sets: str):  # type: ignore[no-untyped-def]
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load(path, sets)


def test_a_deployment_is_enough_and_the_rest_is_as_dynamo_has_it(tmp_path: Path) -> None:
    text = _pools("dynamo: {deployment: llama}", "dynamo: {deployment: llama}")
    loaded = _load(tmp_path, text, "metadata.namespace=serving", "spec.dynamo.min_total_gpus=4")
    named = DynamoDeployment(
        k8s_namespace="serving", name="llama", caller_namespace="serving-llama"
    )
    assert [pool.dynamo for pool in loaded.fleet.pools] == [named, named]
    assert loaded.fleet.dynamo == DynamoRules(min_total_gpus=4, intent_ttl_s=360.0)
    assert check(loaded) == []


def test_everything_can_be_named(tmp_path: Path) -> None:
    names = "dynamo: {deployment: llama, k8sNamespace: prod, callerNamespace: Llama_1}"
    pool = _load(tmp_path, _pools(names, "weight: 1.0")).fleet.pools[0]
    assert (str(pool.dynamo), pool.dynamo.caller_namespace) == ("prod/llama", "Llama_1")


@pytest.mark.parametrize(
    ("prefill", "decode", "sets", "problem"),
    [
        (
            "dynamo: {deployment: llama}", "weight: 1.0", ["spec.dynamo.min_total_gpus=9"],
            "spec.dynamo.min_total_gpus: is 9, the budget has 8 GPUs; lower it or raise that",
        ),
        (
            "dynamo: {}", "weight: 1.0", [], "spec.pools.p.dynamo.deployment: is required",
        ),
        (
            "dynamo: {deployment: llama, role: prefill}", "weight: 1.0", [],
            "spec.pools.p.dynamo.role: ",
        ),
        (
            "dynamo: {deployment: llama, callerNamespace: x}", "dynamo: {deployment: llama}", [],
            "spec.pools.d.dynamo.callerNamespace: the planner of default/llama has the namespace "
            "'x' already, so not 'default-llama'",
        ),
    ],
)  # fmt: skip
def test_what_is_not_sound_is_refused(
    tmp_path: Path, prefill: str, decode: str, sets: list[str], problem: str
) -> None:
    problems = problems_of(tmp_path, _pools(prefill, decode), sets)
    assert any(problem in each for each in problems), problems


def test_a_component_is_one_pool(tmp_path: Path) -> None:
    text = _pools("dynamo: {deployment: llama}", "dynamo: {deployment: llama}")
    more = text + "    - {name: p2, role: prefill, model: m, dynamo: {deployment: llama}}\n"
    assert problems_of(tmp_path, more) == (
        "line 10: spec.pools.p2.dynamo.deployment: "
        "the prefill component of default/llama is the pool 'p' already",
    )


def test_a_floor_that_does_nothing_or_too_much_is_doubtful(tmp_path: Path) -> None:
    useless = _load(tmp_path, MINIMAL, "spec.dynamo.min_total_gpus=4")
    assert [each.message for each in check(useless)] == ["has no effect: no pool has `dynamo`"]
    text = _pools("dynamo: {deployment: llama}, max_replicas: 2", "max_replicas: 2")
    beyond = _load(tmp_path, text, "spec.dynamo.min_total_gpus=5")
    assert [each.message for each in check(beyond)] == [
        "is 5, all pools at their maximum have 4 GPUs: nothing may be given back"
    ]
