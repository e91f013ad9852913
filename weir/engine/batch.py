"""The sequences that decode together, at a cost per iteration that does not grow with them.

Every member emits one token in every step, so nothing is counted per member. `anchor` is fixed
when one joins: `anchor + step` = its tokens (prompt and output) once that many steps are over.
Three things follow from the anchors: the tokens of all members together, the step in which a
member emits its last token, and the steps (one in `block_tokens`) in which it enters a new block.

Invariant: the sum, the steps and the entries are those of the present members.
"""

from collections.abc import Hashable
from heapq import heappop, heappush

from weir.engine.request import Sequence, SequenceState

__all__ = ["DecodeBatch"]

_DECODING = SequenceState.DECODING


class DecodeBatch:
    """Members in the order of their admission, and the number of the step.

    `changed` is set when a member joins or leaves, for whoever wants to know and resets it.
    """

    __slots__ = (
        "_last_steps",
        "anchors",
        "block_tokens",
        "changed",
        "entering",
        "finishing",
        "members",
        "step",
    )

    def __init__(self, block_tokens: int) -> None:
        self.members: dict[Hashable, Sequence] = {}
        self.step = 0
        self.changed = True
        self.block_tokens = block_tokens
        self.anchors = 0
        # By the step of their last token. The heap has each of these steps, and some to come in
        # which a member would have ended that has left.
        self.finishing: dict[int, list[Sequence]] = {}
        self._last_steps: list[int] = []
        # How many members enter a block in the step after step s, at index s % block_tokens.
        self.entering = [0] * block_tokens

    @property
    def tokens(self) -> int:
        """Tokens of all members together, between two steps."""
        return self.anchors + len(self.members) * self.step

    def newest(self) -> Sequence:
        """The member admitted last. Raises `StopIteration` when there is none."""
        return next(reversed(self.members.values()))

    def join(self, sequence: Sequence) -> None:
        """Add a sequence that has emitted a token in the step that is just over."""
        step = self.step
        sequence.state = _DECODING
        sequence.anchor = anchor = sequence.tokens - step
        self.members[sequence.id] = sequence
        self.anchors += anchor
        self.entering[(1 - anchor) % self.block_tokens] += 1
        self.changed = True
        last_step = sequence.last_tokens - anchor
        finishing = self.finishing.get(last_step)
        if finishing is None:
            self.finishing[last_step] = [sequence]
            heappush(self._last_steps, last_step)
        else:
            finishing.append(sequence)

    def leave(self, sequence: Sequence, *, in_step: bool) -> None:
        """Remove a member before its last token; `in_step`: the present step is not over."""
        last_step = sequence.last_tokens - sequence.anchor
        finishing = self.finishing[last_step]
        finishing.remove(sequence)
        if not finishing:
            del self.finishing[last_step]
        self._settle(sequence)
        sequence.tokens -= in_step

    def finish(self) -> list[Sequence]:
        """Remove and return the members whose last token comes out of the present step."""
        finished, last_steps = self.finishing.pop(self.step), self._last_steps
        while last_steps and last_steps[0] <= self.step:
            heappop(last_steps)
        for sequence in finished:
            self._settle(sequence)
        return finished

    def blocks_entered(self, steps: int) -> int:
        """Blocks that the next `steps` steps need beyond those that the members have."""
        entering, block_tokens = self.entering, self.block_tokens
        at = self.step % block_tokens
        if steps == 1:
            return entering[at]
        rounds, steps = divmod(steps, block_tokens)
        blocks = rounds * len(self.members) + sum(entering[at : at + steps])
        beyond = at + steps - block_tokens
        return blocks + sum(entering[:beyond]) if beyond > 0 else blocks

    def steady_steps(self, free_blocks: int) -> int:
        """Steps after the present one until a member finishes or a block is wanting."""
        members, last_steps = len(self.members), self._last_steps
        if not members:
            return 0
        while last_steps[0] not in self.finishing:
            heappop(last_steps)
        steps, block_tokens = last_steps[0] - self.step, self.block_tokens
        if members * (steps // block_tokens + 1) <= free_blocks:
            return steps
        rounds, free_blocks = divmod(free_blocks, members)
        fitting = rounds * block_tokens
        while fitting < steps:
            free_blocks -= self.entering[(self.step + fitting) % block_tokens]
            if free_blocks < 0:
                return fitting
            fitting += 1
        return steps

    def _settle(self, sequence: Sequence) -> None:
        """Remove a member from the sums and tell it how far it came."""
        anchor, block_tokens = sequence.anchor, self.block_tokens
        sequence.tokens = tokens = anchor + self.step
        sequence.computed = computed = tokens - 1
        sequence.blocks = -(-computed // block_tokens)
        del self.members[sequence.id]
        self.anchors -= anchor
        self.entering[(1 - anchor) % block_tokens] -= 1
        self.changed = True
