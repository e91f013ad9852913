"""How much an operator gives an engine at once, so that the ITL target is kept."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

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
    "Limit",
    "class_indices",
    "document_caps",
    "limits",
    "most_sequences",
    "sequences_at",
    "true_caps",
]

Limit = Callable[[PoolSpec, EngineProfile], float]
"""Load that a replica with this profile is given at once, as in `Cap`."""


def most_sequences(profile: EngineProfile, role: Role, itl_s: float, context_tokens: float) -> int:
    """Most sequences of this mean context whose iteration takes `itl_s` or less; at least 1.

    An aggregated engine's iteration carries a full chunk of prompt tokens besides.
    """
    fitting = int(profile.kv_tokens // max(1.0, context_tokens))
    most = max(1, min(profile.max_sequences, profile.max_batched_tokens, fitting))

    def duration_s(sequences: int) -> float:
        return _iteration_s(profile, role, sequences, context_tokens)

    return max(1, bisect_right(range(1, most + 1), itl_s, key=duration_s))


def sequences_at(
    share: float, profile: EngineProfile, role: Role, cap: float, context_tokens: float
) -> int:
    """Fewest sequences that decode at this share of the rate of `cap` of them; at least 1.

    With fewer sequences an iteration is shorter, so they are fewer than the share of `cap`.
    """
    most = max(1, int(cap))

    def rate(sequences: int) -> float:
        return sequences / _iteration_s(profile, role, sequences, context_tokens)

    return min(most, 1 + bisect_left(range(1, most + 1), share * rate(most), key=rate))


def _iteration_s(
    profile: EngineProfile, role: Role, sequences: int, context_tokens: float
) -> float:
    chunk = profile.max_batched_tokens - sequences if role is Role.AGG else 0
    return profile.iteration_s(
        prefill_tokens=max(0, chunk),
        sequences=sequences,
        kv_used_tokens=min(profile.kv_tokens, int(sequences * context_tokens)),
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
    contexts = _mean_contexts(scenario, homes)
    classes = scenario.fleet.classes
    tightest_s = {
        spec.id: min(classes[index].slo.itl_s for index in class_indices(spec, homes))
        for spec in scenario.fleet.pools
    }

    def limit(spec: PoolSpec, profile: EngineProfile) -> float:
        if spec.role is Role.PREFILL:
            return longest_s / prefill_backlog_s(profile, 1.0)
        return most_sequences(profile, spec.role, tightest_s[spec.id], contexts[spec.id])

    return limit


def _mean_contexts(scenario: "Scenario", homes: Homes) -> Mapping[PoolId, float]:
    """Prompt and half the output of the calls at home in each pool; an operator knows these."""
    columns = scenario.columns
    tokens = columns.isl_tokens + columns.osl_tokens / 2.0
    means = {}
    for spec in scenario.fleet.pools:
        own = tokens[np.isin(scenario.class_index, class_indices(spec, homes))]
        means[spec.id] = float(own.mean()) if len(own) else 0.0
    return means
