"""Seeded random numbers for workloads: a stream for each purpose."""

from random import Random

import numpy as np

__all__ = ["generator_of"]


def generator_of(seed: int, purpose: str) -> np.random.Generator:
    """The same seed and purpose, the same numbers; any integer is a seed."""
    return np.random.Generator(np.random.PCG64(Random(f"{seed}:{purpose}").getrandbits(128)))
