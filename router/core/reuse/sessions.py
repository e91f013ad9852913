"""Where each conversation was served last, as clients name it."""

from collections import OrderedDict
from dataclasses import dataclass

from router.core.workers.worker import Worker

__all__ = ["Sessions", "Stay"]

_MOST = 16_384
_TTL_S = 1800.0


@dataclass(slots=True)
class Stay:
    """The session's KV is taken to be `tokens` on this worker. Seen last at `at_s`."""

    worker: Worker
    tokens: int
    at_s: float


class Sessions:
    """The newest of them; one that was silent for half an hour is forgotten."""

    def __init__(self, most: int = _MOST, ttl_s: float = _TTL_S) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._stays: OrderedDict[str, Stay] = OrderedDict()
        self.kept = 0
        """Requests of a known session that went where it was."""
        self.left = 0
        """Those that went elsewhere, because it was too busy there, or gone."""

    def __len__(self) -> int:
        return len(self._stays)

    def find(self, session: str, now_s: float) -> Stay | None:
        stay = self._stays.get(session)
        if stay is None or now_s - stay.at_s > self._ttl_s:
            return None
        return stay

    def sent(self, session: str, worker: Worker, tokens: int, now_s: float) -> None:
        """A request of the session goes there; `tokens` is its prompt."""
        before = self.find(session, now_s)
        if before is not None:
            if before.worker is worker:
                self.kept += 1
            else:
                self.left += 1
        stays = self._stays
        stays[session] = Stay(worker, tokens, now_s)
        stays.move_to_end(session)
        if len(stays) > self._most:
            stays.popitem(last=False)
        oldest = next(iter(stays))
        if now_s - stays[oldest].at_s > self._ttl_s:
            del stays[oldest]

    def forget(self, worker: Worker) -> None:
        """It has nothing of any session now. Looks at all of them, which is rare."""
        for stay in self._stays.values():
            if stay.worker is worker:
                stay.tokens = 0

    def grown(self, session: str, worker: Worker, tokens: int) -> None:
        """Its KV there is this much now, if it is still the last one."""
        stay = self._stays.get(session)
        if stay is not None and stay.worker is worker:
            stay.tokens = tokens
