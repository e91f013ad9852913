"""Helpers to drive an engine model by hand: a profile with round numbers, one call per pass."""

from typing import Any

from weir.domain.profile import EngineProfile, TableTiming
from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Request

__all__ = ["engine", "request", "run", "step"]

MILLISECOND_A_TOKEN = TableTiming(
    prefill=((1.0, 0.001), (1000.0, 1.0)), decode=((1.0, 0.010), (2.0, 0.010))
)


def engine(**profile: Any) -> EngineModel:
    """1 ms for each new prompt token, 10 ms for any number of decoding sequences."""
    defaults = {"kv_tokens": 1600, "block_tokens": 16, "max_batched_tokens": 1000}
    return EngineModel(EngineProfile(timing=MILLISECOND_A_TOKEN, **(defaults | profile)))


def request(id: str, prompt: int, output: int, **more: Any) -> Request:
    return Request(id=id, prompt_tokens=prompt, output_tokens=output, **more)


def step(model: EngineModel, now_s: float = 0.0) -> tuple[Iteration, Outcome]:
    iteration = model.begin(now_s)
    assert iteration is not None
    return iteration, model.finish(iteration)


def run(model: EngineModel, now_s: float = 0.0) -> dict[str, float]:
    """Run until nothing is left to run; when each request ended."""
    ended = {}
    while (iteration := model.begin(now_s)) is not None:
        now_s = iteration.end_s
        ended |= {sequence.id: now_s for sequence in model.finish(iteration).finished}
    return ended
