"""The requests that the oracle plans for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Offered"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offered:
    """One entry per request that an idle fleet could serve in time, in any order.

    `class_index` is the true class's place in the fleet's classes.
    """

    arrival_s: NDArray[np.float64]
    isl_tokens: NDArray[np.int64]
    osl_tokens: NDArray[np.int64]
    class_index: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.arrival_s)

    def take(self, which: NDArray[np.bool_]) -> "Offered":
        return Offered(
            arrival_s=self.arrival_s[which],
            isl_tokens=self.isl_tokens[which],
            osl_tokens=self.osl_tokens[which],
            class_index=self.class_index[which],
        )

    def plus(self, other: "Offered") -> "Offered":
        return Offered(
            arrival_s=np.concatenate((self.arrival_s, other.arrival_s)),
            isl_tokens=np.concatenate((self.isl_tokens, other.isl_tokens)),
            osl_tokens=np.concatenate((self.osl_tokens, other.osl_tokens)),
            class_index=np.concatenate((self.class_index, other.class_index)),
        )
