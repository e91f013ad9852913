"""How clients behave: how long they wait for a first token, and whether they try again."""

import math
from random import Random

__all__ = ["ClientBehaviour"]

_JITTER = 0.5


class ClientBehaviour:
    """What each client draws for itself.

    `patience_s` is the mean time until a client without a first token gives up, None for
    never. It is exponential, as in Palm's model of queues that people leave ("Research on
    telephone traffic carried by full availability groups", Tele 1, 1957), or the same for all
    clients if `fixed`. A client that is shed tries again at most `retries` times.

    Raises `ValueError` if a number is out of range.
    """

    def __init__(
        self, *, patience_s: float | None = None, fixed: bool = False, retries: int = 0
    ) -> None:
        if patience_s is not None and not 0.0 < patience_s < math.inf:
            raise ValueError(f"patience_s must be a finite number > 0, not {patience_s}")
        if retries < 0:
            raise ValueError(f"retries must be >= 0, not {retries}")
        self._mean_s = patience_s
        self._fixed = fixed
        self._retries = retries

    def patience_s(self, rng: Random) -> float:
        """How long the next client waits for its first token; infinite if it is patient."""
        if self._mean_s is None:
            return math.inf
        return self._mean_s if self._fixed else rng.expovariate(1.0 / self._mean_s)

    def retry_after_s(self, attempt: int, retry_after_s: float, rng: Random) -> float | None:
        """When a client whose `attempt`, counted from 1, was shed comes again; None for never.

        It waits as long as the server's Retry-After says and up to half as long again, so that
        clients shed together do not come back together.
        """
        if attempt > self._retries:
            return None
        return retry_after_s * (1.0 + _JITTER * rng.random())
