import pytest

from poolplanner.adapters.scrape import parse
from poolplanner.core.engine_metrics import Reading, reading, sample_between
from weir.domain.ids import PoolId, WorkerId
from weir.domain.telemetry import ForwardPassSample

VLLM = """\
# HELP vllm:num_requests_running Requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_created{engine="0",model_name="m"} 1.7e9
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:cache_config_info{block_size="16",num_gpu_blocks="1000",engine="0"} 1.0
vllm:cache_config_info{block_size="16",num_gpu_blocks="1000",engine="1"} 1.0
vllm:prompt_tokens_total{engine="0"} 10000.0
vllm:prefix_cache_hits_total{engine="0"} 4000.0
vllm:generation_tokens_total{engine="0"} 700.0
vllm:request_success_total{engine="0",finished_reason="stop"} 5.0
vllm:request_success_total{engine="0",finished_reason="length"} 2.0
vllm:request_prompt_tokens_sum{engine="0"} 9000.0
vllm:request_prompt_tokens_count{engine="0"} 9.0
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 30.0
vllm:spec_decode_num_drafts_total{engine="0"} 20.0
"""
SGLANG = """\
sglang:num_running_reqs{model_name="m"} 7.0
sglang:num_queue_reqs{model_name="m"} 2.0
sglang:token_usage{model_name="m"} 0.1
sglang:max_total_num_tokens{model_name="m"} 50000.0
sglang:spec_accept_length{model_name="m"} 0.0
sglang:prompt_tokens_total{model_name="m"} 100.0
"""
TRTLLM = """\
trtllm_num_requests_running 1.0
trtllm_num_requests_waiting 0.0
trtllm_kv_cache_utilization 0.5
trtllm_kv_cache_max_blocks 100.0
trtllm_kv_cache_tokens_per_block 64.0
trtllm_prompt_tokens_total 1000.0
trtllm_kv_cache_reused_blocks_total 2.0
trtllm_spec_decode_acceptance_length 2.5
"""


def _read(text: str) -> Reading:
    found = reading(parse(text))
    assert found is not None
    return found


def _between(before: str | None, after: str) -> ForwardPassSample:
    return sample_between(
        _read(before) if before is not None else None,
        _read(after),
        pool_id=PoolId("chat"),
        worker_id=WorkerId("chat-0"),
        sequence=1,
        window_s=5.0,
    )


def test_vllm_ranks_add_up_and_share_their_kv_space() -> None:
    sample = _between(VLLM, VLLM)
    assert (sample.running, sample.waiting) == (7, 2)
    # 2 x 16,000 tokens, 37.5 % of them on the mean; 2 prompts of 1000 tokens wait.
    assert (sample.kv_total_tokens, sample.kv_used_tokens) == (32_000, 12_000)
    assert sample.waiting_tokens == 2000
    assert (sample.prefill_tokens, sample.decode_tokens, sample.completed) == (0, 0, 0)
    assert sample.iterations is None and sample.busy_s is None


def test_a_window_is_what_was_gained_since_the_look_before() -> None:
    later = (
        (VLLM.replace("10000.0", "15000.0").replace("4000.0", "5000.0").replace("700.0", "900.0"))
        .replace(" 30.0", " 50.0")
        .replace(" 20.0", " 30.0")
    )
    sample = _between(VLLM, later)
    # Of 5000 prompt tokens 1000 were in the cache; 10 drafts had 20 tokens accepted.
    assert (sample.prefill_tokens, sample.cached_tokens) == (4000, 1000)
    assert sample.decode_tokens == 200
    assert sample.accept_length == pytest.approx(3.0)


def test_an_engine_that_has_begun_anew_has_gained_what_it_shows() -> None:
    sample = _between(VLLM, VLLM.replace("700.0", "40.0"))
    assert sample.decode_tokens == 40


def test_the_first_look_only_tells_how_things_stand() -> None:
    sample = _between(None, VLLM)
    assert (sample.running, sample.prefill_tokens, sample.completed) == (7, None, None)


def test_sglang_says_how_many_tokens_fit_and_not_how_long_prompts_are() -> None:
    sample = _between(SGLANG, SGLANG.replace("100.0", "300.0"))
    assert (sample.running, sample.waiting) == (7, 2)
    assert (sample.kv_used_tokens, sample.kv_total_tokens) == (5000, 50_000)
    assert sample.waiting_tokens is None
    assert (sample.prefill_tokens, sample.cached_tokens) == (200, None)
    assert sample.accept_length is None


def test_trtllm_counts_cached_prompts_in_blocks() -> None:
    later = TRTLLM.replace("1000.0", "2000.0").replace("total 2.0", "total 7.0")
    sample = _between(TRTLLM, later)
    assert (sample.kv_used_tokens, sample.kv_total_tokens) == (3200, 6400)
    assert (sample.cached_tokens, sample.prefill_tokens) == (5 * 64, 1000 - 5 * 64)
    assert (sample.waiting_tokens, sample.accept_length) == (0, 2.5)


def test_a_page_of_something_else_is_no_engine() -> None:
    assert reading(parse("# just a comment\nnode_cpu_seconds_total 5\n")) is None
    assert reading(parse("vllm:num_requests_running 3\n")) is None
    assert reading(parse("vllm:num_requests_running NaN\nvllm:num_requests_waiting 1\n")) is None


def test_a_page_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse('vllm:num_requests_running{engine="0 3\n')
