"""The sequences that decode together, at a cost per iteration that does not grow with them.

Every member emits one token in every step, so nothing is counted per member. `anchor` is fixed
when one joins: `anchor + step` = its tokens (prompt and output) once that many steps are over.
Three things follow from the anchors: the tokens of all members together, the step in which a
member emits its last token, and the steps (one in `block_tokens`) in which it enters a new block.

Invariant: the sum, the steps and the entries are those of the present members.
"""

from weir.engine.request import Sequence, SequenceState

__all__ = ["DecodeBatch"]


class DecodeBatch:
    """Members in the order of their admission, and the number of the step."""

    __slots__ = ("_anchors", "_block_tokens", "_entering", "_finishing", "members", "step")

    def __init__(self, block_tokens: int) -> None:
        self.members: dict[str, Sequence] = {}
        self.step = 0
        self._block_tokens = block_tokens
        self._anchors = 0
        self._finishing: dict[int, dict[str, Sequence]] = {}
        # How many members enter a block in the step after step s, at index s % block_tokens.
        self._entering = [0] * block_tokens

    def __len__(self) -> int:
        return len(self.members)

    @property
    def tokens(self) -> int:
        """Tokens of all members together, between two steps."""
        return self._anchors + len(self.members) * self.step

    @property
    def blocks_entered(self) -> int:
        """Blocks that the next step needs beyond those that the members have."""
        return self._entering[self.step % self._block_tokens]

    def newest(self) -> Sequence:
        """The member admitted last. Raises `StopIteration` when there is none."""
        return next(reversed(self.members.values()))

    def last_tokens(self) -> list[Sequence]:
        """The members whose last token comes out of the present step."""
        return list(self._finishing.get(self.step, {}).values())

    def join(self, sequence: Sequence) -> None:
        """Add a sequence that has emitted a token in the step that is just over."""
        request = sequence.request
        sequence.state = SequenceState.DECODING
        sequence.anchor = sequence.tokens - self.step
        sequence.finish_step = request.prompt_tokens + request.output_tokens - sequence.anchor
        self.members[sequence.id] = sequence
        self._anchors += sequence.anchor
        self._finishing.setdefault(sequence.finish_step, {})[sequence.id] = sequence
        self._entering[(1 - sequence.anchor) % self._block_tokens] += 1

    def leave(self, sequence: Sequence, *, in_step: bool) -> None:
        """Remove a member and settle how far it came; `in_step`: this step is not over."""
        tokens = sequence.anchor + self.step
        sequence.emitted = tokens - in_step - sequence.request.prompt_tokens
        sequence.computed = tokens - 1
        sequence.blocks = -(-sequence.computed // self._block_tokens)
        del self.members[sequence.id]
        self._anchors -= sequence.anchor
        bucket = self._finishing[sequence.finish_step]
        del bucket[sequence.id]
        if not bucket:
            del self._finishing[sequence.finish_step]
        self._entering[(1 - sequence.anchor) % self._block_tokens] -= 1

    def steady_steps(self, free_blocks: int) -> int:
        """Steps after the present one until a member finishes or a block is wanting."""
        if not self.members:
            return 0
        count, last = 0, min(self._finishing) - self.step
        while count < last:
            free_blocks -= self._entering[(self.step + count) % self._block_tokens]
            if free_blocks < 0:
                break
            count += 1
        return count
