import pytest

from tests.unit.engine.drive import engine, request, run, step
from weir.engine.request import Refusal, Request


def test_a_request_alone_takes_its_prefill_and_a_step_for_each_further_token() -> None:
    model = engine()
    model.submit(request("a", 100, 3), 0.0)
    first, outcome = step(model)
    assert (first.prefill_tokens, first.sequences) == (100, 0)
    assert first.end_s == pytest.approx(0.100)
    assert [sequence.first_token_s for sequence in outcome.first] == [first.end_s]
    assert run(model, first.end_s) == {"a": pytest.approx(0.120)}


def test_a_step_reads_all_tokens_of_the_sequences_that_decode() -> None:
    model = engine()
    model.submit(request("a", 100, 3), 0.0)
    model.submit(request("b", 50, 3), 0.0)
    step(model)
    assert step(model)[0].context_tokens == 101 + 51
    assert step(model)[0].context_tokens == 102 + 52


def test_a_prompt_longer_than_the_budget_is_prefilled_in_chunks() -> None:
    model = engine(max_batched_tokens=64)
    model.submit(request("a", 100, 1), 0.0)
    assert [step(model)[0].prefill_tokens for _ in range(2)] == [64, 36]


def test_decoding_sequences_take_their_tokens_before_a_prefill() -> None:
    model = engine(max_batched_tokens=64)
    model.submit(request("a", 10, 9), 0.0)
    step(model)
    model.submit(request("b", 100, 2), 0.0)
    mixed, outcome = step(model)
    assert (mixed.sequences, mixed.prefill_tokens) == (1, 63)
    assert mixed.duration_s == pytest.approx(0.063 + 0.010)
    assert outcome.emitted == 1


def test_what_a_prefill_leaves_of_the_budget_goes_to_the_next_in_the_queue() -> None:
    model = engine(max_batched_tokens=64)
    model.submit(request("a", 40, 2), 0.0)
    model.submit(request("b", 40, 2), 0.0)
    _, outcome = step(model)
    assert [sequence.id for sequence in outcome.first] == ["a"]
    chunk, outcome = step(model)
    assert (chunk.sequences, chunk.prefill_tokens) == (1, 16)
    assert [sequence.id for sequence in outcome.first] == ["b"]


def test_without_chunks_a_prompt_waits_until_it_fits_whole() -> None:
    model = engine(max_batched_tokens=64, chunked_prefill=False)
    model.submit(request("a", 40, 2), 0.0)
    model.submit(request("b", 40, 2), 0.0)
    assert step(model)[0].prefill_tokens == 40
    assert step(model)[0].prefill_tokens == 40


def test_no_more_sequences_run_than_allowed() -> None:
    model = engine(max_sequences=2)
    for id in "abc":
        model.submit(request(id, 10, 2), 0.0)
    step(model)
    assert (model.running, model.waiting) == (2, 1)
    step(model)
    assert step(model)[0].prefill_tokens == 10


def test_a_request_that_could_never_fit_is_refused() -> None:
    model = engine(kv_tokens=160)
    assert model.submit(request("a", 100, 61), 0.0) is None
    assert model.submit(request("b", 100, 62), 0.0) == Refusal(needed_tokens=161, limit_tokens=160)
    assert model.waiting == 1


def test_without_chunks_the_budget_limits_a_request_too() -> None:
    model = engine(max_batched_tokens=64, chunked_prefill=False)
    assert model.submit(request("a", 65, 1), 0.0) == Refusal(needed_tokens=65, limit_tokens=64)
    assert model.submit(request("b", 65, 1, prefilled=True), 0.0) is None


def test_without_chunks_a_preempted_sequence_longer_than_the_budget_goes_alone() -> None:
    whole = {"chunked_prefill": False, "prefix_caching": False}
    model = engine(kv_tokens=64, max_batched_tokens=32, **whole)
    for id in "ab":
        model.submit(request(id, 32, 3, prefilled=True), 0.0)
    model.submit(request("c", 1, 1), 0.0)
    for _ in range(3):
        step(model)
    resumed, _ = step(model)
    assert (resumed.prefill_tokens, [each.id for each in resumed.joining]) == (33, ["b"])


def test_a_sequence_owns_the_blocks_that_its_computed_tokens_fill() -> None:
    model = engine()
    model.submit(request("a", 16, 18), 0.0)
    used = []
    for _ in range(18):
        iteration = model.begin(0.0)
        assert iteration is not None
        used.append(model.kv.used_blocks)
        model.finish(iteration)
    # 16 tokens in the prefill, then 17 to 33: the last token is never computed.
    assert used == [1, *[2] * 16, 3]
    assert model.kv.used_blocks == 0


def test_the_newest_is_preempted_and_recomputes_prompt_and_output() -> None:
    # Four blocks: two prompts of 32 tokens fill them, and both need a third for token 33.
    model = engine(kv_tokens=64, prefix_caching=False)
    model.submit(request("a", 32, 3), 0.0)
    model.submit(request("b", 32, 3), 0.0)
    step(model)
    crowded, _ = step(model)
    assert [sequence.id for sequence in crowded.preempted] == ["b"]
    assert (crowded.sequences, crowded.prefill_tokens) == (1, 0)
    step(model)  # a ends
    resumed, outcome = step(model)
    assert resumed.prefill_tokens == 33
    assert outcome.first == []
    _, outcome = step(model)
    assert [sequence.id for sequence in outcome.finished] == ["b"]
    assert model.preemptions == 1


def test_nothing_is_admitted_in_a_pass_that_had_to_preempt() -> None:
    model = engine(kv_tokens=64, prefix_caching=False)
    model.submit(request("a", 32, 3), 0.0)
    model.submit(request("b", 32, 3), 0.0)
    step(model)
    model.submit(request("c", 1, 1), 0.0)
    assert step(model)[0].prefill_tokens == 0


def test_the_preempted_goes_before_those_that_wait() -> None:
    model = engine(kv_tokens=64, prefix_caching=False)
    model.submit(request("a", 32, 3), 0.0)
    model.submit(request("b", 32, 3), 0.0)
    step(model)
    model.submit(request("c", 1, 1), 0.0)
    step(model)
    step(model)
    assert [sequence.id for sequence in step(model)[0].joining] == ["b", "c"]


def test_a_prompt_that_has_come_from_another_engine_is_kept_as_well() -> None:
    model = engine()
    model.submit(request("a", 64, 3, block_hashes=(1, 2, 3, 4), prefilled=True), 0.0)
    run(model)
    model.submit(request("b", 90, 1, block_hashes=(1, 2, 3, 4, 5)), 0.0)
    assert step(model)[0].prefill_tokens == 90 - 64
    assert (model.prefix_queried_tokens, model.prefix_hit_tokens) == (90, 64)


def test_a_shared_prefix_is_computed_once_but_for_its_last_block() -> None:
    model = engine()
    prefix = (1, 2, 3, 4)
    model.submit(request("a", 64, 1, block_hashes=prefix), 0.0)
    step(model)
    model.submit(request("b", 64, 1, block_hashes=prefix), 0.0)
    iteration, outcome = step(model)
    assert iteration.prefill_tokens == 16
    assert outcome.finished[0].cached_tokens == 48
    assert (model.prefix_queried_tokens, model.prefix_hit_tokens) == (128, 48)


def test_two_in_one_pass_share_their_prefix_too() -> None:
    model = engine()
    model.submit(request("a", 70, 2, block_hashes=(1, 2, 3, 4)), 0.0)
    model.submit(request("b", 70, 2, block_hashes=(1, 2, 3, 4)), 0.0)
    assert step(model)[0].prefill_tokens == 70 + 6
    assert model.kv.used_blocks == 4 + 1 + 1


def test_without_prefix_caching_nothing_is_shared() -> None:
    model = engine(prefix_caching=False)
    for id in "ab":
        model.submit(request(id, 64, 1, block_hashes=(1, 2, 3, 4)), 0.0)
        assert step(model)[0].prefill_tokens == 64


def test_a_prefill_broken_off_leaves_only_what_it_computed() -> None:
    model = engine(max_batched_tokens=32)
    model.submit(request("a", 64, 1, block_hashes=(1, 2, 3, 4)), 0.0)
    step(model)
    model.abort("a")
    assert model.kv.resident((1, 2, 3, 4)) == 2
    assert model.kv.used_blocks == 0


def test_kv_that_is_held_stays_until_released() -> None:
    model = engine(kv_tokens=64)
    model.submit(request("a", 60, 1, hold=True), 0.0)
    model.submit(request("b", 60, 1), 0.0)
    _, outcome = step(model)
    assert [sequence.id for sequence in outcome.finished] == ["a"]
    assert (model.held, model.kv.used_blocks) == (1, 4)
    assert model.begin(0.0) is None
    assert model.release("a")
    assert not model.release("a")
    assert run(model) == {"b": pytest.approx(0.060)}


def test_kv_that_arrived_needs_no_prefill() -> None:
    model = engine()
    model.submit(request("a", 100, 2, prefilled=True), 0.0)
    first, outcome = step(model)
    assert (first.sequences, first.prefill_tokens, first.context_tokens) == (1, 0, 100)
    assert first.duration_s == pytest.approx(0.010)
    assert [sequence.id for sequence in outcome.first] == ["a"]
    assert model.kv.used_blocks == 7
    assert step(model)[0].context_tokens == 101


def test_kv_that_arrived_and_was_lost_to_preemption_is_computed_here() -> None:
    model = engine(kv_tokens=64, prefix_caching=False)
    model.submit(request("a", 32, 3, prefilled=True), 0.0)
    model.submit(request("b", 32, 3, prefilled=True), 0.0)
    for _ in range(3):
        step(model)
    assert step(model)[0].prefill_tokens == 33


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_an_abort_frees_everything_whatever_the_state(passes: int) -> None:
    model = engine(max_batched_tokens=32)  # waiting, half prefilled, decoding, decoding
    model.submit(request("a", 50, 9), 0.0)
    for _ in range(passes):
        step(model)
    assert model.abort("a")
    assert not model.abort("a")
    assert (model.running, model.waiting, model.pending_tokens) == (0, 0, 0)
    assert model.kv.used_blocks == 0
    assert model.begin(0.0) is None


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_who_is_aborted_in_the_middle_of_a_pass_gets_no_token_from_it(passes: int) -> None:
    model = engine(max_batched_tokens=32)
    model.submit(request("a", 50, 9), 0.0)
    for _ in range(passes):
        step(model)
    iteration = model.begin(0.0)
    assert iteration is not None
    model.abort("a")
    outcome = model.finish(iteration)
    assert (outcome.emitted, outcome.first, outcome.finished) == (0, [], [])
    assert model.kv.used_blocks == 0


def test_a_request_is_not_seen_before_it_was_submitted() -> None:
    model = engine()
    model.submit(request("a", 10, 1), 5.0)
    assert model.begin(4.9) is None
    assert model.begin(5.0) is not None


def test_work_ahead_counts_prompts_without_what_was_computed_or_cached() -> None:
    model = engine(max_batched_tokens=32)
    model.submit(request("a", 50, 1, block_hashes=(1, 2, 3)), 0.0)
    model.submit(request("b", 50, 1, block_hashes=(1, 2, 3)), 0.0)
    model.submit(request("c", 50, 1, prefilled=True), 0.0)
    assert model.pending_tokens == 100
    step(model)
    assert model.pending_tokens == 68
    step(model)  # 18 of a; b finds 48 in the cache and computes 2
    assert model.pending_tokens == 0


def test_an_unchanging_batch_tells_for_how_long() -> None:
    model = engine()
    model.submit(request("a", 10, 5), 0.0)
    iteration = model.begin(0.0)
    assert iteration is not None
    assert model.steady_iterations() == 0  # a prefills
    model.finish(iteration)
    for left in (3, 2, 1, 0):
        iteration = model.begin(0.0)
        assert model.steady_iterations() == left
        assert iteration is not None
        model.finish(iteration)


def test_misuse_is_refused() -> None:
    model = engine()
    model.submit(request("a", 10, 2), 0.0)
    with pytest.raises(ValueError, match="already here"):
        model.submit(request("a", 10, 2), 0.0)
    iteration = model.begin(0.0)
    assert iteration is not None
    with pytest.raises(RuntimeError, match="must be finished"):
        model.begin(0.0)
    model.finish(iteration)
    with pytest.raises(RuntimeError, match="not in progress"):
        model.finish(iteration)
    with pytest.raises(ValueError, match="at least one token"):
        Request(id="b", prompt_tokens=0, output_tokens=1)
