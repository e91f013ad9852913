"""Who is stuck is found by one figure of the pool as by comparing with each of the others."""

from hypothesis import given
from hypothesis import strategies as st

from router.core.pool import Pool
from router.core.workers import outliers
from router.core.workers.charge import Charge
from router.core.workers.worker import Worker
from tests.unit.router.builders import members, pool
from weir.domain.fleet import Role

_NOW_S = 100.0


def _waiting(waits_s: list[float]) -> list[Worker]:
    made = Pool(pool("p", Role.PREFILL))
    made.apply(members("p", *(f"w{i}" for i in range(len(waits_s)))))
    workers = list(made.workers.values())
    for worker, waits in zip(workers, waits_s, strict=True):
        if waits:
            Charge(made, worker, 0).depart(10, _NOW_S - waits)
    return workers


@given(st.lists(st.sampled_from([0.0, 1.0, 5.0, 12.0, 30.0, 61.0]), min_size=1, max_size=40))
def test_a_stuck_worker_waits_five_times_as_long_as_half_of_the_others(
    waits_s: list[float],
) -> None:
    workers = _waiting(waits_s)
    usual_s = outliers.usual_wait_s(workers, _NOW_S)
    asked = workers[:: 1 + (len(workers) - 1) // 8]
    for worker in workers:
        waited_s = worker.waited_s(_NOW_S)
        better = sum(5 * other.waited_s(_NOW_S) < waited_s for other in asked)
        stuck = outliers.is_stuck(worker, usual_s, 0.0, _NOW_S)
        assert stuck is (waited_s > 10.0 and 2 * better >= len(asked) - 1)
        assert outliers.may_be_stuck(worker, _NOW_S) or not stuck
