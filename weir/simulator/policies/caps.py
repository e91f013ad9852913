"""How much an operator gives an engine at once, so that the ITL target is kept."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.simulator.homes import Homes
from weir.sizing.capacity import prefill_backlog_s

if TYPE_CHECKING:
    from weir.simulator.gateway.plain import Cap
    from weir.simulator.scenario import Scenario

__all__ = [
    "Lengths",
    "Limit",
    "class_indices",
    "document_caps",
    "limits",
    "mean_lengths",
    "most_sequences",
    "sequences_at",
    "true_caps",
]

Limit = Callable[[PoolSpec, EngineProfile], float]
"""Load that a replica with this profile is given at once, as in `Cap`."""


class Lengths(NamedTuple):
    """Means of the calls of a pool."""

    isl_tokens: float
    osl_tokens: float

    @property
    def context_tokens(self) -> float:
        """Of a call halfway through its output."""
        return self.isl_tokens + self.osl_tokens / 2.0


def most_sequences(profile: EngineProfile, role: Role, itl_s: float, lengths: Lengths) -> int:
    """Most sequences of these lengths whose iteration takes `itl_s` or less; at least 1.

    An aggregated engine's iteration carries a full chunk of prompt tokens besides.
    """
    fitting = int(profile.kv_tokens // max(1.0, lengths.context_tokens))
    most = max(1, min(profile.max_sequences, profile.max_batched_tokens, fitting))

    def duration_s(sequences: int) -> float:
        chunk = profile.max_batched_tokens - sequences if role is Role.AGG else 0
        return _iteration_s(profile, sequences, lengths, chunk)

    return max(1, bisect_right(range(1, most + 1), itl_s, key=duration_s))


def sequences_at(
    share: float, profile: EngineProfile, role: Role, cap: float, lengths: Lengths
) -> int:
    """Fewest sequences that make this share of the output of `cap` of them; at least 1.

    With fewer sequences an iteration is shorter, so they are fewer than the share of `cap`. An
    aggregated engine prefills the prompts that keep so many decoding.
    """
    most = max(1, int(cap))
    prompt_s = prefill_backlog_s(profile, lengths.isl_tokens) if role is Role.AGG else 0.0
    token_s = prompt_s / max(1.0, lengths.osl_tokens)

    def rate(sequences: int) -> float:
        iteration_s = _iteration_s(profile, sequences, lengths) + sequences * token_s
        return sequences / iteration_s

    return min(most, 1 + bisect_left(range(1, most + 1), share * rate(most), key=rate))


def _iteration_s(
    profile: EngineProfile, sequences: int, lengths: Lengths, prefill_tokens: int = 0
) -> float:
    return profile.iteration_s(
        prefill_tokens=max(0, prefill_tokens),
        sequences=sequences,
        kv_used_tokens=min(profile.kv_tokens, int(sequences * lengths.context_tokens)),
    )


def document_caps(scenario: "Scenario", homes: Homes) -> "Cap":
    """By the document's profile: what an operator would configure as the engine's limit."""
    limit = limits(scenario, homes)
    caps = {spec.id: limit(spec, spec.profile) for spec in scenario.fleet.pools}
    return lambda replica: caps[replica.pool_id]


def true_caps(scenario: "Scenario", homes: Homes) -> "Cap":
    """By what each replica really does, which nobody but an oracle knows."""
    limit = limits(scenario, homes)
    specs = {spec.id: spec for spec in scenario.fleet.pools}
    return lambda replica: limit(specs[replica.pool_id], replica.profile)


def class_indices(spec: PoolSpec, homes: Homes) -> list[int]:
    """Classes that have this pool as a home; all classes if none has."""
    stage = homes.decode if spec.role is Role.DECODE else homes.prefill
    own = [index for index, pools in enumerate(stage) if spec.id in pools]
    return own or list(range(len(stage)))


def limits(scenario: "Scenario", homes: Homes) -> Limit:
    """Calls for the tightest ITL target of the classes at home in a pool, at their mean lengths.

    A prefill replica's line is as long as a call would wait at the gateway at most.
    """
    longest_s = scenario.loaded.router.queue_timeout_s
    lengths = mean_lengths(scenario, homes)
    classes = scenario.fleet.classes
    tightest_s = {
        spec.id: min(classes[index].slo.itl_s for index in class_indices(spec, homes))
        for spec in scenario.fleet.pools
    }

    def limit(spec: PoolSpec, profile: EngineProfile) -> float:
        if spec.role is Role.PREFILL:
            return longest_s / prefill_backlog_s(profile, 1.0)
        return most_sequences(profile, spec.role, tightest_s[spec.id], lengths[spec.id])

    return limit


def mean_lengths(scenario: "Scenario", homes: Homes) -> Mapping[PoolId, Lengths]:
    """Of the calls at home in each pool; an operator knows these."""
    columns = scenario.columns
    means = {}
    for spec in scenario.fleet.pools:
        own = np.isin(scenario.class_index, class_indices(spec, homes))
        isl, osl = columns.isl_tokens[own], columns.osl_tokens[own]
        means[spec.id] = (
            Lengths(float(isl.mean()), float(osl.mean())) if len(isl) else Lengths(0, 0)
        )
    return means
