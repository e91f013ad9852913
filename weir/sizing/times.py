"""How replicas become time: what planned load may take of it, and what is left to catch up."""

import numpy as np

from weir.sizing.basis import Floats

__all__ = ["Times"]


class Times:
    """Planned load may take `carry` of what replicas are planned to carry, catching up all.

    One share, or one for each pool.

    `utilization` is the share of a replica's time that its planned capacity stands for. Work is
    queued that would keep `backlog` replicas busy, each worth `backlog_worth`, by pool.
    """

    def __init__(
        self, *, carry: float | Floats, utilization: float, backlog: Floats, backlog_worth: Floats
    ) -> None:
        self.carry: Floats = np.broadcast_to(np.asarray(carry, dtype=np.float64), backlog.shape)
        self.backlog = backlog
        self._utilization = utilization
        self._worth = backlog_worth
        self._backlogs: list[float] = backlog.tolist()
        self._worths: list[float] = backlog_worth.tolist()
        self._carries: list[float] = self.carry.tolist()

    def of(self, pool: int, count: int) -> tuple[float, float, float]:
        """Time that is free for planned load, time that is late, and what catching up is worth.

        The last as if planned load took no late time.
        """
        planned, backlog = self._carries[pool] * count, self._backlogs[pool]
        if backlog <= 0.0:
            return planned, 0.0, 0.0
        free = min(max((count - backlog) / self._utilization, 0.0), planned)
        return free, planned - free, self._worths[pool] * min(backlog, count)

    def of_all(self, replicas: Floats) -> tuple[Floats, Floats, Floats]:
        planned = self.carry * replicas
        free = np.clip((replicas - self.backlog) / self._utilization, 0.0, planned)
        free = np.where(self.backlog > 0.0, free, planned)
        return free, planned - free, self._worth * np.minimum(self.backlog, replicas)

    def caught_up(self, replicas: Floats, busy: Floats) -> Floats:
        """Replicas' worth of time that goes into queued work beside a planned load."""
        left = np.maximum(replicas - self._utilization * busy, 0.0)
        return np.minimum(self.backlog, left)
