"""How engines call what they show at /metrics, older names included."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ENGINES", "NAMES", "EngineNames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNames:
    """Names of one kind of engine's metrics; the first that is there counts.

    `total`: KV tokens, or blocks and the tokens of one (`blocks`), or labels of the same
    (`blocks_in`: metric, label of blocks, label of tokens).
    """

    running: tuple[str, ...]
    waiting: tuple[str, ...]
    usage: tuple[str, ...]
    total: tuple[str, ...] = ()
    blocks: tuple[str, str] | None = None
    blocks_in: tuple[str, str, str] | None = None
    prompt: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    cached_blocks: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    iterations: tuple[str, ...] = ()
    preemptions: tuple[str, ...] = ()
    completed: tuple[str, ...] = ()
    prompt_lengths: tuple[str, str] | None = None
    accepted: tuple[str, str] | None = None
    accept_length: tuple[str, ...] = ()


ENGINES = (
    EngineNames(
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        blocks_in=("vllm:cache_config_info", "num_gpu_blocks", "block_size"),
        prompt=("vllm:prompt_tokens_total",),
        cached=("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        generated=("vllm:generation_tokens_total",),
        iterations=("vllm:iteration_tokens_total_count",),
        preemptions=("vllm:num_preemptions_total",),
        completed=("vllm:request_success_total",),
        prompt_lengths=("vllm:request_prompt_tokens_sum", "vllm:request_prompt_tokens_count"),
        accepted=(
            "vllm:spec_decode_num_accepted_tokens_total",
            "vllm:spec_decode_num_drafts_total",
        ),
    ),
    EngineNames(
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        usage=("sglang:token_usage",),
        total=("sglang:max_total_num_tokens",),
        blocks_in=("sglang:cache_config_info", "num_pages", "page_size"),
        prompt=("sglang:prompt_tokens_total",),
        cached=("sglang:cached_tokens_total",),
        generated=("sglang:generation_tokens_total",),
        preemptions=("sglang:num_retracted_requests_total",),
        completed=("sglang:num_requests_total",),
        accept_length=("sglang:spec_accept_length",),
    ),
    EngineNames(
        running=("trtllm_num_requests_running",),
        waiting=("trtllm_num_requests_waiting",),
        usage=("trtllm_kv_cache_utilization",),
        blocks=("trtllm_kv_cache_max_blocks", "trtllm_kv_cache_tokens_per_block"),
        prompt=("trtllm_prompt_tokens_total",),
        cached_blocks=("trtllm_kv_cache_reused_blocks_total",),
        generated=("trtllm_generation_tokens_total",),
        completed=("trtllm_request_success_total",),
        accept_length=("trtllm_spec_decode_acceptance_length",),
    ),
)


def _names(engine: EngineNames) -> Iterable[str]:
    for name in engine.__slots__:
        value = getattr(engine, name)
        if name == "blocks_in" and value is not None:
            yield value[0]
        else:
            yield from value or ()


NAMES = frozenset(name for engine in ENGINES for name in _names(engine))
"""All that is ever read."""
