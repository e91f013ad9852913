"""What holds for the engine model whatever is asked of it."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.naive_engine import NaiveEngine
from weir.domain.profile import EngineProfile
from weir.engine.model import EngineModel
from weir.engine.request import Request, SequenceState

BLOCK = 4


@st.composite
def profiles(draw: st.DrawFn, *, prefix_caching: bool | None = None) -> EngineProfile:
    return EngineProfile(
        kv_tokens=draw(st.integers(BLOCK, 80)),
        block_tokens=BLOCK,
        max_sequences=draw(st.integers(1, 6)),
        max_batched_tokens=draw(st.integers(1, 40)),
        chunked_prefill=draw(st.booleans()),
        prefix_caching=draw(st.booleans()) if prefix_caching is None else prefix_caching,
    )


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    lengths = st.tuples(st.integers(1, 40), st.integers(1, 24), st.booleans(), st.booleans())
    return [
        Request(
            id=str(number),
            prompt_tokens=prompt,
            output_tokens=output,
            block_hashes=_chain(draw(st.integers(0, 2)), prompt),
            prefilled=prefilled,
            hold=hold,
        )
        for number, (prompt, output, prefilled, hold) in enumerate(
            draw(st.lists(lengths, min_size=1, max_size=14))
        )
    ]


def _chain(family: int, prompt_tokens: int) -> tuple[int, ...]:
    """Block hashes of one of few families of prompts, whose shorter ones begin the longer."""
    return tuple(1000 * family + block for block in range(prompt_tokens // BLOCK))


actions = st.lists(
    st.one_of(
        st.just(("step", 0)),
        st.just(("step", 0)),
        st.tuples(st.sampled_from(["abort", "release"]), st.integers(0, 13)),
        st.just(("submit", 0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(profiles(prefix_caching=False), requests(), actions)
def test_every_pass_is_what_the_plain_rules_say(
    profile: EngineProfile, todo: list[Request], script: list[tuple[str, int]]
) -> None:
    model, naive = EngineModel(profile), NaiveEngine(profile)
    left, now_s = iter(todo), 0.0
    for what, which in [*script, *[("submit", 0)] * len(todo), *[("step", 0)] * 100]:
        if what == "submit" and (request := next(left, None)) is not None:
            if model.submit(request, 0.0) is None:
                naive.submit(request)
        elif what == "step":
            now_s = _same_pass(model, naive, now_s)
        elif what in ("abort", "release") and getattr(model, what)(str(which)):
            naive.abort(str(which))


def _same_pass(model: EngineModel, naive: NaiveEngine, now_s: float) -> float:
    """A pass that begins now; returns when it ends."""
    iteration, expected = model.begin(now_s), naive.step()
    if iteration is None:
        assert expected is None
        return now_s
    assert expected is not None
    got = (iteration.prefill_tokens, iteration.sequences, iteration.context_tokens)
    assert got == (expected.prefill_tokens, expected.sequences, expected.context_tokens)
    assert [sequence.id for sequence in iteration.preempted] == expected.preempted
    outcome = model.finish(iteration)
    assert {sequence.id for sequence in outcome.finished} == expected.finished
    assert model.kv.used_blocks == naive.used_blocks
    assert (model.running, model.waiting) == (len(naive.running), len(naive.waiting))
    assert iteration.end_s == pytest.approx(naive.now_s, rel=0.0, abs=1e-9)
    return iteration.end_s


@settings(max_examples=150, deadline=None)
@given(profiles(prefix_caching=True), requests(), actions)
def test_kv_in_use_is_that_of_the_sequences_and_never_too_much(
    profile: EngineProfile, todo: list[Request], script: list[tuple[str, int]]
) -> None:
    model, left, iteration = EngineModel(profile), iter(todo), None
    for what, which in script:
        if what == "submit" and (request := next(left, None)) is not None:
            model.submit(request, 0.0)
        elif what == "abort":
            model.abort(str(which))
        elif what == "release":
            model.release(str(which))
        elif iteration is None:
            iteration = model.begin(0.0)
        else:
            model.finish(iteration)
            iteration = None
        _check_kv(model)
    _abort_all(model, todo)
    assert model.kv.used_blocks == 0
    assert (model.running, model.waiting, model.held, model.pending_tokens) == (0, 0, 0, 0)


def _check_kv(model: EngineModel) -> None:
    batch, in_pass = model._batch, model.iteration is not None
    shared: set[int] = set()
    private = work = 0
    for sequence in model._sequences.values():
        if sequence.state is SequenceState.WAITING:
            work += 0 if sequence.prefilled else sequence.tokens
            continue
        blocks = sequence.blocks
        if sequence.state is SequenceState.DECODING:
            blocks = -(-(sequence.anchor + batch.step - 1) // BLOCK)
            emitted = sequence.anchor + batch.step - in_pass - sequence.request.prompt_tokens
            assert 1 <= emitted < sequence.request.output_tokens or in_pass
        elif sequence.state is SequenceState.PREFILLING:
            work += sequence.tokens - sequence.computed
        shared.update(sequence.hashes)
        private += blocks - len(sequence.hashes)
    assert model.kv.used_blocks == private + len(shared)
    assert model.kv.used_blocks + model.kv.idle_blocks <= model.kv.total_blocks
    assert model.pending_tokens == work


def _abort_all(model: EngineModel, todo: Iterable[Request]) -> None:
    for request in todo:
        model.abort(request.id)


@settings(max_examples=100, deadline=None)
@given(profiles(), requests())
def test_every_request_ends_once_with_exactly_its_tokens(
    profile: EngineProfile, todo: list[Request]
) -> None:
    model = EngineModel(profile)
    accepted = [request for request in todo if model.submit(request, 0.0) is None]
    emitted = dict.fromkeys((request.id for request in accepted), 0)
    ended, started, now_s, idle = [], [], 0.0, 0
    while len(ended) < len(accepted):
        iteration = model.begin(now_s)
        if iteration is None:  # held KV is in the way: only a release can help
            assert model.held
            model.release(ended[idle])
            idle += 1
            continue
        now_s = iteration.end_s
        outcome = model.finish(iteration)
        assert outcome.emitted or iteration.prefill_tokens
        started += [sequence.id for sequence in outcome.first]
        for sequence in [*model.decoding, *outcome.finished]:
            emitted[sequence.id] += 1
        ended += [sequence.id for sequence in outcome.finished]
    assert emitted == {request.id: request.output_tokens for request in accepted}
    assert sorted(ended) == sorted(emitted)
    assert started == [request.id for request in accepted]


@settings(max_examples=100, deadline=None)
@given(profiles(), requests())
def test_an_unchanging_batch_lasts_exactly_as_long_as_told(
    profile: EngineProfile, todo: list[Request]
) -> None:
    model = EngineModel(profile)
    for request in todo:
        model.submit(request, 0.0)
    promised, before = 0, [""]
    while (iteration := model.begin(0.0)) is not None:
        batch = [sequence.id for sequence in model.decoding]
        if promised:
            assert (batch, iteration.prefill_tokens, iteration.joining) == (before, 0, [])
            assert model.steady_iterations() == promised - 1
        promised, before = model.steady_iterations(), batch
        model.finish(iteration)
