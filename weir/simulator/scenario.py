"""Everything that one run is made from; two runs of equal scenarios are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np
from numpy.typing import NDArray

from weir.domain.classify import OfTenant, classify
from weir.domain.fleet import Fleet, Rule
from weir.domain.grid import Grid
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.fleet import LoadedFleet
from weir.simulator.feasible import feasible_calls
from weir.simulator.oracle.curves import Bins
from weir.simulator.oracle.goodput import goodput_bound_rps
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.plan import OraclePlan, oracle_of
from weir.workload.columns import TraceColumns
from weir.workload.prefixes import block_chains

__all__ = ["Scenario", "true_profiles"]

_BIN_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`columns` are the requests of [`start_s`, `end_s`), already at the wanted rate.

    What happens before `count_from_s` is not counted. `class_index` is the true class of each.
    """

    loaded: LoadedFleet
    columns: TraceColumns
    class_index: NDArray[np.intp]
    feasible: NDArray[np.bool_]
    profiles: Mapping[PoolId, EngineProfile]
    seed: int
    start_s: float
    count_from_s: float
    end_s: float
    tenants: bool = False
    """Whether requests tell the router their tenant."""
    grid: Grid | None = None
    """What routers go by instead of the GlobalPlanner's plan."""

    @property
    def fleet(self) -> Fleet:
        return self.loaded.fleet

    @cached_property
    def oracle(self) -> OraclePlan:
        """What a planner who knows everything would do."""
        everything = self._offered
        return oracle_of(
            self.fleet,
            everything.take(self.feasible),
            self.profiles,
            besides=everything.take(~self.feasible),
            start_s=self.start_s,
            count_from_s=self.count_from_s,
            end_s=self.end_s,
        )

    @cached_property
    def weighted_goodput_bound_rps(self) -> float:
        """Weights per second of the requests that any fleet within the limits could serve in time.

        By the minute, in the mean of those that are counted.
        """
        count = max(1, round((self.end_s - self.count_from_s) / _BIN_S))
        bin_s = (self.end_s - self.count_from_s) / count
        by_bin = goodput_bound_rps(
            self.fleet,
            self.profiles,
            self._offered.take(self.feasible),
            Bins(start_s=self.count_from_s, bin_s=bin_s, count=count),
        )
        return float(by_bin.mean())

    @property
    def _offered(self) -> Offered:
        columns = self.columns
        return Offered(
            arrival_s=columns.timestamp_s,
            isl_tokens=columns.isl_tokens,
            osl_tokens=columns.osl_tokens,
            class_index=self.class_index,
        )

    @cached_property
    def chains(self) -> Sequence[tuple[int, ...]]:
        """What the prompts share, by request; empty if the trace does not say."""
        reuse_tokens = self.columns.reuse_tokens
        if reuse_tokens is None:
            return ()
        return block_chains(self.columns.isl_tokens, reuse_tokens)

    @property
    def first_size(self) -> Mapping[PoolId, int]:
        """Replicas that every policy starts with."""
        return self.oracle.first_size

    @classmethod
    def of(
        cls,
        loaded: LoadedFleet,
        columns: TraceColumns,
        *,
        seed: int,
        start_s: float,
        end_s: float,
        warmup_s: float = 0.0,
        tenants: bool = False,
    ) -> "Scenario":
        columns = columns.between(start_s, end_s)
        profiles = true_profiles(loaded, seed)
        class_index = _true_classes(loaded.fleet, columns, tenants=tenants)
        return cls(
            loaded=loaded,
            columns=columns,
            class_index=class_index,
            feasible=feasible_calls(loaded.fleet, profiles, columns, class_index),
            profiles=profiles,
            seed=seed,
            start_s=start_s,
            count_from_s=start_s + warmup_s,
            end_s=end_s,
            tenants=tenants,
        )


def true_profiles(loaded: LoadedFleet, seed: int) -> dict[PoolId, EngineProfile]:
    """What each pool's engines really do: the document's profile at another speed."""
    settings = loaded.simulation
    profiles = {}
    for spec in loaded.fleet.pools:
        draw = Random(f"{seed}:bias:{spec.id}").uniform(-settings.speed_bias, settings.speed_bias)
        bias = settings.speed_biases.get(spec.id, draw)
        profiles[spec.id] = replace(spec.profile, speed=spec.profile.speed * (1.0 + bias))
    return profiles


def _true_classes(fleet: Fleet, columns: TraceColumns, *, tenants: bool) -> NDArray[np.intp]:
    """The class a row names if the fleet has it, else by its lengths, and its tenant if known."""
    index: dict[str, int] = {c.name: i for i, c in enumerate(fleet.classes)}
    by_length = np.full(len(columns), -1, np.intp)
    for i, c in reversed(list(enumerate(fleet.classes))):
        if c.on_request:
            continue
        holds = _within(columns.isl_tokens, c.isl_tokens.low, c.isl_tokens.high)
        holds &= _within(columns.osl_tokens, c.osl_tokens.low, c.osl_tokens.high)
        if c.rule is not None:
            holds &= _holds(c.rule, columns, tenants=tenants)
        by_length[holds] = i
    by_length[by_length < 0] = index[classify(fleet.classes, -1, -1).name]
    named = np.array([*(index.get(name, -1) for name in columns.class_names), -1], np.intp)
    by_name = named[columns.class_codes]
    return np.where(by_name >= 0, by_name, by_length)


def _holds(rule: Rule, columns: TraceColumns, *, tenants: bool) -> NDArray[np.bool_]:
    """Of each row; of what requests state a trace tells their tenants at most."""
    if not tenants:
        return np.full(len(columns), rule.holds(OfTenant("")))
    held = [rule.holds(OfTenant(name)) for name in (*columns.tenant_names, "")]
    return np.array(held)[columns.tenant_codes]


def _within(tokens: NDArray[np.int64], low: int, high: int | None) -> NDArray[np.bool_]:
    inside = tokens >= low
    return inside if high is None else inside & (tokens < high)
