"""A pool of many workers chooses as if it looked at all of them."""

from hypothesis import given
from hypothesis import strategies as st

from router.core.pool import Pool
from router.core.workers.charge import Charge
from router.core.workers.worker import Worker
from tests.unit.router.builders import members, pool
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId

_NAMES = [f"w{i}" for i in range(40)]
_NOBODY: frozenset[WorkerId] = frozenset()

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "end", "fail", "answer", "leave", "wait"]),
        st.integers(0, 39),
        st.integers(1, 3000),
    ),
    max_size=120,
)


def _usable(made: Pool, now_s: float) -> list[Worker]:
    return [w for w in made.workers.values() if w.usable(now_s)]


@given(_STEPS, st.sampled_from(list(Role)))
def test_the_least_loaded_of_many_is_the_least_of_all(
    steps: list[tuple[str, int, int]], role: Role
) -> None:
    made = Pool(pool("p", role))
    made.apply(members("p", *_NAMES))
    live: list[Charge] = []
    now_s, version = 0.0, 1
    for what, at, tokens in steps:
        now_s += 0.05
        worker = made.least_loaded(now_s, _NOBODY)
        if what == "send" and worker is not None:
            live.append(made.charge(worker.endpoint, kv_tokens=tokens))
            live[-1].depart(tokens, now_s)
        elif what == "end" and live:
            live.pop(at % len(live)).release(now_s)
        elif what == "fail":
            made.fail(WorkerId(_NAMES[at]), now_s)
        elif what == "answer" and live:
            live[at % len(live)].first_token(now_s)
        elif what == "leave":
            version += 1
            made.apply(members("p", *_NAMES[at % 5 :], version=version, draining=_NAMES[at]))
        elif what == "wait":
            now_s += at / 5
        found = made.least_loaded(now_s, _NOBODY)
        usable = _usable(made, now_s)
        assert found is min(usable, key=made.rank)
        assert set(made.usable(now_s)) == set(usable)
        excluded = frozenset(w.endpoint.id for w in usable[:3])
        others = [w for w in usable if w.endpoint.id not in excluded]
        assert made.least_loaded(now_s, excluded) is min(others, key=made.rank)


def test_among_many_one_with_kv_space_is_found_near_the_least_loaded() -> None:
    # 10,000 KV tokens each: w0 to w2 have a short sequence less, and no space.
    made = Pool(pool("p", Role.DECODE))
    made.apply(members("p", *_NAMES))
    for at, worker in enumerate(made.workers.values()):
        kv_tokens = [9_990] if at < 3 else [3_000, 3_000]
        for each in kv_tokens:
            made.charge(worker.endpoint, kv_tokens=each)
    found = made.least_loaded(0.0, _NOBODY, 5_000)
    assert found is not None
    assert found.endpoint.id == "w3"


def test_what_was_seen_of_many_fades_one_by_one_and_by_its_age() -> None:
    made = Pool(pool("p", Role.DECODE))
    made.apply(members("p", *_NAMES))
    made.usable(0.0)
    for worker in made.workers.values():
        made.observe(worker, 2.0, 1.0)
    last = made.workers[WorkerId(_NAMES[-1])]
    before = last.pace
    made.usable(1.0)
    assert sum(w.faded_at_s == 1.0 for w in made.workers.values()) == 1
    for i in range(40 * 60):
        made.usable(1.0 + i / 20)
    assert all(w.faded_at_s > 110.0 for w in made.workers.values())
    assert last.pace < before
