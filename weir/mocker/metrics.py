"""What this engine counts, under vLLM's names where vLLM has one. Durations in model seconds."""

from collections.abc import Sequence

from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.mocker.exposition import Buckets, Exposition
from weir.mocker.settings import MockerSettings

__all__ = ["MockerMetrics"]

_FINISHED = ("stop", "length", "abort", "error")
_PULLS = ("ok", "unknown", "unreachable")
_HANDOVERS = ("fetched", "expired", "unknown")
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
_TTFT_LONG = (10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
_ITL_LONG = (10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_E2E_LONG = (120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)


class MockerMetrics:
    """Counters that the service moves. `iteration` does so for what a forward pass brings."""

    def __init__(self, context_limit_tokens: int) -> None:
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.iterations = 0
        self.busy_s = 0.0
        self.prefill_tokens = 0
        self.decode_tokens = 0
        self.finished = dict.fromkeys(_FINISHED, 0)
        self.prefill_legs = 0
        self.decode_legs = 0
        self.pulls = dict.fromkeys(_PULLS, 0)
        self.handovers = dict.fromkeys(_HANDOVERS, 0)
        self.ttft_s = Buckets(_TTFT + _TTFT_LONG)
        self.itl_s = Buckets(_ITL + _ITL_LONG)
        self.e2e_s = Buckets(_E2E + _E2E_LONG)
        lengths = _one_two_five(context_limit_tokens)
        self.request_prompt_tokens = Buckets(lengths)
        self.request_generation_tokens = Buckets(lengths)
        self._last_end_s = 0.0

    def iteration(self, iteration: Iteration, outcome: Outcome) -> None:
        """Count a forward pass.

        Its sequences had a token at the end of the pass before it, but for those that joined.
        """
        self.iterations += 1
        self.busy_s += iteration.duration_s
        self.prefill_tokens += iteration.prefill_tokens
        self.decode_tokens += iteration.sequences
        self.generation_tokens += outcome.emitted
        going_on = outcome.emitted - len(iteration.joining)
        if going_on > 0:
            self.itl_s.observe(iteration.end_s - self._last_end_s, going_on)
        self._last_end_s = iteration.end_s

    def request(self, reason: str, *, prompt_tokens: int, output_tokens: int, e2e_s: float) -> None:
        """Count a request that was answered in full."""
        self.finished[reason] += 1
        self.prompt_tokens += prompt_tokens
        self.request_prompt_tokens.observe(prompt_tokens)
        self.request_generation_tokens.observe(output_tokens)
        self.e2e_s.observe(e2e_s)

    def render(self, settings: MockerSettings, engine: EngineModel, lag_s: float) -> bytes:
        """The page at /metrics."""
        text = Exposition({"model_name": settings.models[0], "engine": "0"})
        self._engine_state(text, engine)
        self._requests(text)
        self._own(text, settings, engine, lag_s)
        return text.render()

    def _engine_state(self, text: Exposition, engine: EngineModel) -> None:
        text.add("gauge", "vllm:num_requests_running", "Requests in the batch.", engine.running)
        text.add("gauge", "vllm:num_requests_waiting", "Requests queued.", engine.waiting)
        usage = engine.kv.used_blocks / engine.kv.total_blocks
        text.add("gauge", "vllm:kv_cache_usage_perc", "KV blocks in use, 1 = all.", usage)
        text.add(
            "counter",
            "vllm:prefix_cache_queries_total",
            "Prompt tokens looked up in the prefix cache.",
            engine.prefix_queried_tokens,
        )
        text.add(
            "counter",
            "vllm:prefix_cache_hits_total",
            "Prompt tokens found in the prefix cache.",
            engine.prefix_hit_tokens,
        )
        text.add(
            "counter",
            "vllm:num_preemptions_total",
            "Times a request lost its place for want of KV space.",
            engine.preemptions,
        )
        info = {
            "block_size": str(engine.profile.block_tokens),
            "num_gpu_blocks": str(engine.kv.total_blocks),
            "enable_prefix_caching": str(engine.profile.prefix_caching),
        }
        text.family("gauge", "vllm:cache_config_info", "KV cache as configured.", [(info, 1)])

    def _requests(self, text: Exposition) -> None:
        text.add("counter", "vllm:prompt_tokens_total", "Prompt tokens.", self.prompt_tokens)
        text.add("counter", "vllm:generation_tokens_total", "Tokens out.", self.generation_tokens)
        text.family(
            "counter",
            "vllm:request_success_total",
            "Requests ended, by reason.",
            _labelled("finished_reason", self.finished),
        )
        text.histogram("vllm:time_to_first_token_seconds", "Arrival to token 1.", self.ttft_s)
        text.histogram("vllm:inter_token_latency_seconds", "Between two tokens.", self.itl_s)
        text.histogram("vllm:e2e_request_latency_seconds", "Arrival to the end.", self.e2e_s)
        text.histogram("vllm:request_prompt_tokens", "Prompt length.", self.request_prompt_tokens)
        text.histogram(
            "vllm:request_generation_tokens", "Output length.", self.request_generation_tokens
        )

    def _own(
        self, text: Exposition, settings: MockerSettings, engine: EngineModel, lag_s: float
    ) -> None:
        who = {"role": settings.role, "pool": settings.pool, "worker": settings.worker}
        text.family("gauge", "weir_mocker_info", "Which engine this is.", [(who, 1)])
        text.add("counter", "weir_mocker_prefill_legs_total", "Prefill legs.", self.prefill_legs)
        text.add("counter", "weir_mocker_decode_legs_total", "Decode legs.", self.decode_legs)
        text.family(
            "counter",
            "weir_mocker_kv_pulls_total",
            "KV fetched from prefill engines, by result.",
            _labelled("result", self.pulls),
        )
        text.family(
            "counter",
            "weir_mocker_kv_handovers_total",
            "KV kept for decode engines, by what became of it.",
            _labelled("result", self.handovers),
        )
        text.add("gauge", "weir_mocker_kv_held", "Prompts whose KV is kept.", engine.held)
        text.add("counter", "weir_mocker_iterations_total", "Forward passes.", self.iterations)
        text.add("counter", "weir_mocker_busy_seconds_total", "Time in them.", self.busy_s)
        text.add("gauge", "weir_mocker_lag_seconds", "How late this process is.", lag_s)


def _labelled(label: str, counts: dict[str, int]) -> Sequence[tuple[dict[str, str], float]]:
    return [({label: value}, count) for value, count in counts.items()]


def _one_two_five(limit: int) -> list[float]:
    """1, 2, 5, 10, ... up to `limit`."""
    bounds: list[float] = []
    scale = 1
    while True:
        for factor in (1, 2, 5):
            if factor * scale > limit:
                return bounds
            bounds.append(factor * scale)
        scale *= 10
