"""Learned output lengths: from wide to narrow, bounded, and hints only until they prove wrong."""

from router.core.lengths.lifetable import Expected
from router.core.lengths.outputs import OutputLengths, shape_of
from weir.domain.ids import ModelName

M, OTHER = ModelName("m"), ModelName("other")


def _expect(
    outputs: OutputLengths,
    model: ModelName = M,
    tenant: str = "",
    *,
    isl: int = 100,
    max_tokens: int | None = None,
    hint: int | None = None,
) -> Expected:
    return outputs.expect(shape_of(model, isl, max_tokens, hint), tenant, max_tokens)


def _end(
    outputs: OutputLengths,
    osl: int,
    tenant: str = "",
    *,
    isl: int = 100,
    max_tokens: int | None = None,
    hint: int | None = None,
    times: int = 1,
) -> None:
    for _ in range(times):
        outputs.ended(shape_of(M, isl, max_tokens, hint), tenant, osl)


def test_output_length_is_the_prior_capped_by_max_tokens_when_nothing_is_known() -> None:
    outputs = OutputLengths(256.0)
    assert _expect(outputs).mean_tokens == 256
    assert _expect(outputs, max_tokens=100) == Expected(100, 100, 100, 50)
    assert _expect(outputs, max_tokens=0).mean_tokens == 1


def test_output_length_is_learned_by_shape() -> None:
    outputs = OutputLengths(256.0)
    for _ in range(100):
        _end(outputs, 20, isl=100, max_tokens=1000)
        _end(outputs, 600, isl=4000, max_tokens=1000)
    assert abs(_expect(outputs, isl=100, max_tokens=1000).typical_tokens - 20) <= 3
    assert abs(_expect(outputs, isl=4000, max_tokens=1000).typical_tokens - 600) <= 60


def test_a_shape_not_seen_before_falls_back_to_the_wider_one() -> None:
    outputs = OutputLengths(256.0)
    _end(outputs, 40, "a", max_tokens=1000, times=200)
    assert abs(_expect(outputs, tenant="b", max_tokens=1000).mean_tokens - 40) <= 9
    assert abs(_expect(outputs, isl=9000, max_tokens=1000).mean_tokens - 40) <= 9
    assert abs(_expect(outputs, isl=9000).mean_tokens - 40) <= 9
    assert _expect(outputs, OTHER).mean_tokens == 256


def test_a_tenant_departs_from_others_on_its_own_evidence() -> None:
    outputs = OutputLengths(256.0)
    _end(outputs, 20, "a", times=100)
    _end(outputs, 2000, "b", times=100)
    assert _expect(outputs, tenant="a").typical_tokens < 30
    assert _expect(outputs, tenant="b").typical_tokens > 1500


def test_many_tenants_do_not_push_out_what_is_in_use() -> None:
    outputs = OutputLengths(256.0)
    _end(outputs, 2000, "busy", times=100)
    for i in range(9000):
        _end(outputs, 10, f"t{i}")
        if i % 1000 == 0:
            _end(outputs, 2000, "busy")
    assert _expect(outputs, tenant="unseen").typical_tokens < 15
    assert _expect(outputs, tenant="busy").typical_tokens > 1500
    assert len(outputs._tenants) <= 4096


def test_a_hint_is_believed_until_such_requests_say_otherwise() -> None:
    outputs = OutputLengths(256.0)
    _end(outputs, 20, times=100)
    hinted = _expect(outputs, hint=3000)
    assert 2500 < hinted.typical_tokens < 3600
    assert 2500 < hinted.mean_tokens < 3600
    _end(outputs, 30, "liar", hint=3000, times=100)
    assert _expect(outputs, tenant="liar", hint=3000).typical_tokens < 60


def test_what_runs_counts_for_its_tenant_and_for_all_wider_groups() -> None:
    outputs = OutputLengths(256.0)
    _end(outputs, 10, "a", times=20)
    short = _expect(outputs, tenant="a").most_tokens
    shape = shape_of(M, 100, None)
    for _ in range(20):
        passed = outputs.has_passed(shape, "a", 3000.0)
        assert outputs.has_passed(shape, "a", 2000.0, passed) == passed
    assert short < 3000 < _expect(outputs, tenant="a").most_tokens
    assert _expect(outputs, isl=9000).most_tokens > 3000
