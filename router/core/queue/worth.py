"""What serving a class is worth for the work that it makes: weight per second of a worker.

Work is the mean of requests that had to wait, with both stages on the fastest pools.
"""

from router.core.fading import FadingQuotient
from router.core.flight import Flight
from weir.domain.ids import ClassName, ModelName

__all__ = ["Worth"]


class Worth:
    """By class and model, since pools of one model may be faster than another's."""

    def __init__(self) -> None:
        self._work_s: dict[tuple[ModelName, ClassName], FadingQuotient] = {}

    def of(self, flight: Flight) -> float:
        """Of the flight's class; as long as nobody of it has waited, of the flight itself."""
        work_s = _work_s(flight)
        known = self._work_s.get(_key(flight))
        if known is not None:
            work_s = known.mean(work_s, 1.0)
        return flight.request_class.weight / work_s

    def work_s(self, flight: Flight) -> float:
        """Of the mean request of its class: seconds of a worker."""
        return flight.request_class.weight / self.of(flight)

    def learn(self, flight: Flight) -> float:
        """One of its class waits. Returns what the class is worth now."""
        work_s = self._work_s.setdefault(_key(flight), FadingQuotient())
        work_s.add(_work_s(flight), 1.0)
        return flight.request_class.weight / work_s.mean(0.0, 0.0)


def _key(flight: Flight) -> tuple[ModelName, ClassName]:
    return flight.sized.model.name, flight.request_class.name


def _work_s(flight: Flight) -> float:
    sized = flight.sized
    return sized.model.work_s(sized.isl_tokens, sized.osl_tokens)
