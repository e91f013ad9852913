"""What decode workers are believed to keep, whatever they run, serve and are asked for."""

from hypothesis import given
from hypothesis import strategies as st

from router.core.reuse.kept import Kept
from router.core.reuse.ties import Ties
from router.core.workers.pace import Ideal
from router.core.workers.worker import Worker
from tests.unit.router.builders import members

KV = 1000
BLOCK = 100
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["decoded", "run", "ask", "forget"]),
        st.integers(0, 2),
        st.lists(st.integers(0, 1), min_size=1, max_size=7).map(tuple),
        st.integers(0, 1200),
    ),
    max_size=40,
)


def ties(path: tuple[int, ...]) -> Ties:
    """A block of 100 tokens for each step of the path, and half of one."""
    hashes = tuple(hash(path[: end + 1]) for end in range(len(path)))
    return Ties(hashes, range(BLOCK, 10_000, BLOCK), size=BLOCK * len(path) + BLOCK // 2)


@given(STEPS)
def test_no_worker_is_believed_to_keep_what_it_never_had_or_has_no_space_for(
    steps: list[tuple[str, int, tuple[int, ...], int]],
) -> None:
    kept = Kept(KV)
    endpoints = members("d", "a", "b", "c").workers
    workers = [Worker(each, Ideal(lambda sequences, tokens: 0.01), 1.0) for each in endpoints]
    served: dict[Worker, set[tuple[int, ...]]] = {worker: set() for worker in workers}
    for what, which, path, tokens in steps:
        worker, prompt = workers[which], ties(path)
        if what == "run":
            worker.kv_tokens = tokens
        elif what == "decoded":
            kept.decoded(worker, prompt, prompt.size)
            served[worker] |= {path[: end + 1] for end in range(len(path))}
        elif what == "forget":
            kept.forget(worker)
            served[worker].clear()
        else:
            for holder, found in kept.candidates(prompt, prompt.size, 0.0).items():
                assert found <= max(0, KV - holder.kv_tokens)
                assert found < prompt.size
                assert not found or path[: found // BLOCK] in served[holder]
