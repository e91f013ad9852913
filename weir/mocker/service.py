"""From a checked request to its answer: submit, hand tokens on, hand KV over, abort.

Invariant: a job is in the table from its arrival until it was answered, refused or its client
has gone; then the engine has nothing of it left but KV that the shelf keeps.
"""

import asyncio
import logging
from collections.abc import Hashable
from typing import Any

from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Request, Sequence
from weir.http1.server import Responder
from weir.mocker.answers import Answer
from weir.mocker.driver import EngineDriver
from weir.mocker.generation import FetchKv, Generation, KeepKv
from weir.mocker.handover import FetchFailedError, KvFetcher, KvShelf
from weir.mocker.kv_events import KvPublisher
from weir.mocker.metrics import MockerMetrics
from weir.mocker.settings import MockerSettings

__all__ = ["EngineService"]

_log = logging.getLogger("weir.mocker")


class _Job:
    __slots__ = ("answer", "arrived_s", "fetching", "generation", "id", "responder")

    def __init__(
        self, id: str, generation: Generation, responder: Responder, answer: Answer, now_s: float
    ) -> None:
        self.id = id
        self.generation = generation
        self.responder = responder
        self.answer = answer
        self.arrived_s = now_s
        self.fetching: asyncio.Task[None] | None = None


class EngineService:
    """One engine and its clients. `engine_id` is new with every process."""

    def __init__(
        self,
        settings: MockerSettings,
        engine: EngineModel,
        *,
        engine_id: str,
        publisher: KvPublisher | None = None,
    ) -> None:
        self._publisher = publisher
        self._settings = settings
        self._clock = settings.clock
        self._engine = engine
        self._engine_id = engine_id
        self.metrics = MockerMetrics(settings.context_limit_tokens or engine.kv_total_tokens)
        self._driver = EngineDriver(engine, self._clock, self._after_iteration)
        self._shelf = KvShelf(
            self._clock, settings.kv_hold_s, self._driver.release, self._on_expiry
        )
        self._fetcher = KvFetcher()
        self._jobs: dict[Hashable, _Job] = {}
        self._streaming: dict[Hashable, Answer] = {}
        self._submitted = 0
        self.address = ("", 0)
        """Where other engines fetch KV; set once the server listens."""

    @property
    def jobs(self) -> int:
        """Requests that are being answered."""
        return len(self._jobs)

    @property
    def kept(self) -> int:
        """Prompts whose KV has yet to leave."""
        return len(self._shelf)

    def page(self) -> bytes:
        """The metrics page."""
        return self.metrics.render(self._settings, self._engine, self._driver.lag_s)

    def serve(self, generation: Generation, responder: Responder, answer: Answer) -> None:
        """Answer a request, now or as its tokens come."""
        self._submitted += 1
        id = f"{self._engine_id}-{self._submitted}"
        job = _Job(id, generation, responder, answer, self._clock.now_s())
        self._jobs[id] = job
        if self._publisher is not None:
            self._publisher.hold(generation.block_hashes, generation.material)
        responder.on_close = lambda: self._drop(job)
        if isinstance(generation.leg, FetchKv):
            self.metrics.decode_legs += 1
            job.fetching = asyncio.create_task(self._decode_leg(job, generation.leg))
            return
        if isinstance(generation.leg, KeepKv):
            self.metrics.prefill_legs += 1
        self._submit(job, prefilled=False)

    def hand_over(self, request_id: str) -> int | None:
        """A decode engine asks for a prompt's KV: its tokens, or None if it is not here."""
        profile = self._settings.profile
        rate = profile.kv_transfer_tokens_per_s * profile.speed
        tokens = self._shelf.fetch(request_id, rate)
        self.metrics.handovers["unknown" if tokens is None else "fetched"] += 1
        return tokens

    def clear_cache(self) -> bool:
        """Forget all prompts that have been computed; False while some are in use."""
        cleared = self._engine.kv.clear()
        if self._publisher is not None:
            self._publisher.publish()
        return cleared

    def close(self) -> None:
        """Break off what is left."""
        self._driver.close()
        for job in list(self._jobs.values()):
            self._drop(job, "error")
            if job.fetching is not None:
                job.fetching.cancel()
            job.answer.fail(503, "the engine was stopped before the answer was complete")
        self._shelf.close()
        self._fetcher.close()

    def _submit(self, job: _Job, *, prefilled: bool) -> None:
        generation = job.generation
        keep = isinstance(generation.leg, KeepKv) and generation.finish_reason == "length"
        refusal = self._driver.submit(
            Request(
                id=job.id,
                prompt_tokens=generation.prompt_tokens,
                output_tokens=generation.output_tokens,
                block_hashes=generation.block_hashes,
                prefilled=prefilled,
                hold=keep,
            )
        )
        if refusal is not None:
            needed, limit = refusal.needed_tokens, refusal.limit_tokens
            self._fail(job, 400, f"{needed} tokens are needed, the engine holds {limit}")
        elif generation.stream:
            self._streaming[job.id] = job.answer

    async def _decode_leg(self, job: _Job, source: FetchKv) -> None:
        """Fetch the prompt's KV; once it has come the request can join the batch.

        It is fetched also if the client leaves meanwhile: as with vLLM, an engine that was told of
        it sees to it that the other one need not keep it.
        """
        try:
            tokens = await self._fetch(source, job.generation.prompt_tokens)
        except FetchFailedError as error:
            self.metrics.pulls[error.result] += 1
            _log.warning("a decode leg failed: %s", error)
            self._fail(job, 500, str(error))
        except Exception:
            _log.exception("a decode leg failed")
            self._fail(job, 500, "internal error; the log of this process has details")
        else:
            self.metrics.pulls["ok"] += 1
            profile = self._settings.profile
            await self._clock.sleep(tokens / (profile.kv_transfer_tokens_per_s * profile.speed))
            job.fetching = None
            if job.id in self._jobs:
                self._submit(job, prefilled=True)

    async def _fetch(self, source: FetchKv, wanted_tokens: int) -> int:
        tokens = await self._fetcher.fetch(source)
        if tokens != wanted_tokens:
            message = f"KV of {tokens} tokens was handed over for a prompt of {wanted_tokens}"
            raise FetchFailedError(message, "unknown")
        return tokens

    def _after_iteration(self, iteration: Iteration, outcome: Outcome) -> None:
        self.metrics.iteration(iteration, outcome)
        if self._publisher is not None:
            self._publisher.publish()
        for sequence in outcome.first:
            self.metrics.ttft_s.observe(iteration.end_s - self._jobs[sequence.id].arrived_s)
        if self._streaming:
            self._pass_on([sequence.id for sequence in self._engine.decoding])
        for sequence in outcome.finished:
            self._finish(sequence, iteration.end_s)

    def _pass_on(self, decoding: list[Hashable]) -> None:
        """A token each to the streams among these."""
        streaming = self._streaming
        for id in decoding:
            answer = streaming.get(id)
            if answer is not None and not answer.token():
                _log.warning("a client that does not read its stream was given up")
                job = self._jobs[id]
                self._drop(job)
                job.responder.abort()

    def _finish(self, sequence: Sequence, now_s: float) -> None:
        job = self._jobs.pop(sequence.id)
        self._ended(job)
        self._streaming.pop(sequence.id, None)
        generation = job.generation
        self.metrics.request(
            generation.finish_reason,
            prompt_tokens=generation.prompt_tokens,
            output_tokens=generation.output_tokens,
            e2e_s=now_s - job.arrived_s,
        )
        params = None
        if sequence.request.hold:
            self._shelf.keep(job.id, generation.prompt_tokens)
            params = self._kv_transfer_params(sequence)
        job.answer.end(sequence, params)

    def _kv_transfer_params(self, sequence: Sequence) -> dict[str, Any]:
        host, port = self.address
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_engine_id": self._engine_id,
            "remote_block_ids": list(range(sequence.blocks)),
            "remote_host": host,
            "remote_port": port,
            "remote_request_id": sequence.id,
            "tp_size": 1,
        }

    def _drop(self, job: _Job, reason: str = "abort") -> None:
        """Forget a request whose answer nobody will read."""
        if self._jobs.pop(job.id, None) is None:
            return
        self._streaming.pop(job.id, None)
        self.metrics.finished[reason] += 1
        self._driver.abort(job.id)
        self._ended(job)

    def _fail(self, job: _Job, status: int, message: str) -> None:
        if self._jobs.pop(job.id, None) is None:
            return
        self._ended(job)
        self.metrics.finished["error"] += 1
        job.answer.fail(status, message)

    def _ended(self, job: _Job) -> None:
        if self._publisher is not None:
            self._publisher.publish()
            self._publisher.let_go(job.generation.block_hashes)

    def _on_expiry(self) -> None:
        self.metrics.handovers["expired"] += 1
        _log.warning("KV kept for a decode leg was not fetched in %g s", self._settings.kv_hold_s)
