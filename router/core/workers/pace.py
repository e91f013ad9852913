"""How slow engines really are: the time they took over what their profile says for the same work.

A pace of 1.25 is an engine that takes a quarter longer than its profile says.
"""

from collections.abc import Callable

__all__ = ["Ideal", "Pace", "Prompts"]

_LEAST, _MOST = 0.25, 4.0
_STEP = 0.25
_PRIOR_WEIGHT = 4.0
_TELLING_PROMPTS_S = 0.5


class Pace:
    """A robust mean of what was observed, in which older observations count less and less.

    An observation counts as at most `_STEP` above or below the mean so far, so that a few odd
    ones (a client that reads slowly) hardly matter while a lasting change is followed.
    """

    __slots__ = ("_mean", "_most_weight", "_weight")

    def __init__(self, most_weight: float) -> None:
        self._most_weight = most_weight
        self._mean = 1.0
        self._weight = 0.0

    def observe(self, ratio: float, weight: float, prior: float) -> None:
        """`ratio`: time taken over time expected. The first one is measured against `prior`."""
        mean = self._mean if self._weight else prior
        deviation = ratio / mean - 1.0
        if deviation > _STEP:
            deviation = _STEP
        elif deviation < -_STEP:
            deviation = -_STEP
        total = self._weight + weight
        if total > self._most_weight:
            total = self._most_weight
        mean *= 1.0 + deviation * weight / total
        self._mean = _LEAST if mean < _LEAST else _MOST if mean > _MOST else mean
        self._weight = total

    def fade(self, keep: float) -> None:
        """Let what was seen so far count only this much (0..1)."""
        self._weight *= keep

    def given(self, prior: float) -> float:
        """The pace to believe in, where `prior` holds as long as little has been seen."""
        return (self._mean * self._weight + prior * _PRIOR_WEIGHT) / (self._weight + _PRIOR_WEIGHT)


class Ideal:
    """An engine exactly as its profile says, under the load that a worker has.

    `steps` counts its iterations, `prompts_s` its time on prompts; who compares two readings with
    what the worker did in between learns the worker's pace.
    """

    __slots__ = (
        "_at_s",
        "_decode_s",
        "_steps",
        "kv_tokens",
        "prompts_s",
        "sequences",
        "step_s",
    )

    def __init__(self, decode_s: Callable[[int, int], float]) -> None:
        self._decode_s = decode_s
        self._at_s = 0.0
        self._steps = 0.0
        self.sequences = 0
        self.kv_tokens = 0
        self.step_s = 0.0
        """How long an iteration takes now if it has no prompt; 0 while nobody decodes."""
        self.prompts_s = 0.0

    def steps(self, now_s: float) -> float:
        """Iterations so far, had it only decoded."""
        return self._steps + (now_s - self._at_s) / self.step_s if self.step_s else self._steps

    def join(self, kv_tokens: int, now_s: float) -> float:
        """A sequence decodes from now on. Returns the `steps` so far."""
        return self._load(self.sequences + 1, self.kv_tokens + kv_tokens, now_s)

    def leave(self, kv_tokens: int, now_s: float) -> None:
        self._load(self.sequences - 1, self.kv_tokens - kv_tokens, now_s)

    def shift(self, sequences: int, kv_tokens: int, now_s: float) -> None:
        """So many more, or fewer, decode from now on."""
        self._load(self.sequences + sequences, self.kv_tokens + kv_tokens, now_s)

    def _load(self, sequences: int, kv_tokens: int, now_s: float) -> float:
        steps = self._steps
        if self.step_s:
            steps += (now_s - self._at_s) / self.step_s
        self._steps = steps
        self._at_s = now_s
        self.sequences = sequences
        self.kv_tokens = kv_tokens
        self.step_s = self._decode_s(sequences, kv_tokens) if sequences else 0.0
        return steps


class Prompts:
    """How long a worker takes over prompts, measured while it always has one.

    The time between two first tokens is that of a prompt, or of those that shared a batch, so it
    is summed up until it is about enough of them.
    """

    __slots__ = ("_expected_s", "_since_s", "_taken_s", "running_tokens", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        """That all that are done should have taken."""
        self.running_tokens = 0
        """That were there when the batch began that is running; those that come now follow it."""
        self._since_s = 0.0
        self._taken_s = 0.0
        self._expected_s = 0.0

    def begin(self, now_s: float) -> None:
        """One comes to a worker that had none, or has to start anew since one went away."""
        self._since_s = now_s
        self._taken_s = self._expected_s = 0.0

    def running_s(self, now_s: float) -> float:
        """Since one came or had its first token."""
        return now_s - self._since_s

    def done(self, expected_s: float, now_s: float, *, last: bool) -> tuple[float, float] | None:
        """One that should have taken `expected_s` has its first token; no other waits if `last`.

        Returns a ratio and its weight for `Pace.observe` when it is time to.
        """
        taken_s = self._taken_s + now_s - self._since_s
        self.total_s += expected_s
        expected_s += self._expected_s
        self._since_s = now_s
        enough = expected_s >= _TELLING_PROMPTS_S
        if expected_s <= 0.0 or not (enough or last):
            self._taken_s, self._expected_s = taken_s, expected_s
            return None
        self._taken_s = self._expected_s = 0.0
        return taken_s / expected_s, 1.0 if enough else expected_s / _TELLING_PROMPTS_S

    def elsewhere(self, expected_s: float, now_s: float) -> None:
        """Prompts of other processes have had their first tokens since the last one had."""
        self._taken_s += now_s - self._since_s
        self._expected_s += expected_s
        self._since_s = now_s
