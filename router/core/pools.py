"""All pools of the fleet by model, and the routing plan that holds among them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from router.core.pool import Pool
from router.core.reuse.ties import Ties
from router.core.shares import Turns
from weir.domain.errors import RequestError
from weir.domain.fleet import Model, PoolSpec, Role, Stage
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.legs import TWO_LEGS, LegRules, WithoutPrefill
from weir.domain.planning import PoolMembers, RoutingPlan

__all__ = ["ModelPools", "Pools", "Shares"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Pools for one class, model and stage.

    `weights` are above 0 and sum to 1; `turns` follow them. `spill` are the pools to try when it
    is not the turn of one that can take the request. `others` are left out by the plan: a last
    resort. `in_order`: there are no turns, `spill` are all there are, and are tried in this order.
    """

    weights: Mapping[PoolId, float]
    turns: Turns
    spill: tuple[Pool, ...]
    others: tuple[Pool, ...]
    planned: bool
    in_order: bool = False

    def sent(self, pool_id: PoolId) -> None:
        """A request went there: the turns move on."""
        self.turns.sent(self.weights, pool_id)


class ModelPools:
    """The pools that serve one model; `heads` start a request (prefill or agg).

    `shares` are remembered until members or the plan change, `turns` for ever. Prompts of which
    fewer than `direct_below_tokens` are to be computed may go to a decode worker; 0: none.
    """

    def __init__(self, name: ModelName, pools: Sequence[Pool], legs: LegRules) -> None:
        self.name = name
        self.legs = legs
        self.direct_below_tokens = legs.direct_below_tokens
        self.pools = tuple(pools)
        self.heads = tuple(p for p in pools if p.spec.role is not Role.DECODE)
        self.decodes = tuple(p for p in pools if p.spec.role is Role.DECODE)
        dialects = {p.spec.dialect for p in pools}
        in_pairs = bool(self.decodes)
        self.runs_on_decode = in_pairs and legs.without_prefill is WithoutPrefill.RUN_ON_DECODE
        self.may_refuse = in_pairs and legs.without_prefill is WithoutPrefill.REFUSE
        self.pairs_only = len(dialects) == 1 and all(not p.mixes for p in pools)
        """Every prefill pool goes with every decode pool, and nothing else is there."""
        self.shares: dict[Stage, dict[ClassName, Shares]] = {stage: {} for stage in Stage}
        self.turns: dict[Stage, dict[ClassName, Turns]] = {stage: {} for stage in Stage}
        rates = [p.predictor.decode_rate for p in pools if p.decodes]
        self._token_s = 1.0 / max(rates, default=inf)
        self.reuses = False
        """Whether it may matter which worker has done a prompt's beginning before."""
        self.shortest_context = min(p.spec.context_limit_tokens for p in pools)
        self.longest_context = max(p.spec.context_limit_tokens for p in pools)

    def look_again(self) -> None:
        """Members or the plan have changed."""
        for shares in self.shares.values():
            shares.clear()
        workers = [len(p.workers) for p in self.heads if p.reuse is not None]
        keeps = any(p.kept is not None and p.workers for p in self.decodes)
        self.reuses = keeps or sum(workers) > 1

    def of(self, stage: Stage) -> tuple[Pool, ...]:
        return self.heads if stage is Stage.PREFILL else self.decodes

    def ordered(self, stage: Stage) -> Shares | None:
        """Where the pools have an order of their own: it counts, whatever a plan says."""
        return None

    def idle_first_s(self, isl_tokens: int) -> float:
        """Seconds to the first token on an idle worker of the fastest pool."""
        return min((p.idle_first_s(isl_tokens) for p in self.heads), default=0.0)

    def first_within(self, isl_tokens: int, ttft_s: float) -> bool:
        """Whether an idle worker of some pool would have the first token in time."""
        return any(p.idle_first_s(isl_tokens) <= ttft_s for p in self.heads) or not self.heads

    def itl_within(self, kv_tokens: int, itl_s: float) -> bool:
        """Whether a worker of some pool would keep the ITL of a sequence that it has alone."""
        return any(p.idle_itl_s(kv_tokens) <= itl_s for p in self.pools if p.decodes)

    def work_s(self, isl_tokens: int, osl_tokens: int) -> float:
        """Seconds of fully used workers of the fastest pools."""
        return self.idle_first_s(isl_tokens) + osl_tokens * self._token_s

    def new_tokens(self, ties: Ties, isl_tokens: int, now_s: float) -> int:
        """Of a prompt, what a decode worker lacks that may do it alone; all if there is none."""
        below = self.direct_below_tokens
        if not below:
            return isl_tokens
        kept_tokens = max((p.keeps(ties, isl_tokens, now_s) for p in self.decodes), default=0)
        return isl_tokens - kept_tokens if isl_tokens - kept_tokens < below else isl_tokens

    @property
    def idle(self) -> bool:
        """Whether no prompt is at an engine."""
        return not any(p.queued_tokens for p in self.heads)

    def lacks_prefill(self, now_s: float) -> bool:
        """Whether it is served in pairs, and no worker is ready that could begin with a prompt."""
        return bool(self.decodes) and not any(p.usable(now_s) for p in self.heads)

    def refuses(self, now_s: float) -> bool:
        """Whether requests are not to wait for such a worker; for one that has to wake they are."""
        asleep = any(p.asleep for p in self.heads)
        return self.may_refuse and not asleep and self.lacks_prefill(now_s)

    def serves_without(self, pool_ids: frozenset[PoolId]) -> bool:
        """Whether the other pools hold an agg pool or a pair for both stages."""
        dialects = {p.spec.dialect for p in self.decodes if p.id not in pool_ids}
        return any(
            p.spec.role is Role.AGG or p.spec.dialect in dialects
            for p in self.heads
            if p.id not in pool_ids
        )

    def staffed(self, pool_ids: frozenset[PoolId]) -> bool:
        """Whether the other pools have workers for both stages, whatever state these are in."""
        empty = frozenset(p.id for p in self.pools if not p.serving)
        return self.serves_without(pool_ids | empty)

    def ready(self, now_s: float) -> str | None:
        """None if a request could be served end to end, else what is missing.

        Now, or after the start of replicas that only come with requests.
        """
        idle = frozenset(p.id for p in self.pools if not (p.asleep or p.usable(now_s)))
        if self.serves_without(idle):
            return None
        if self.runs_on_decode and any(p.id not in idle for p in self.decodes):
            return None
        missing = [stage.value for stage in Stage if all(p.id in idle for p in self.of(stage))]
        return f"{self.name}: no {' and no '.join(missing) or 'matching'} worker is ready"


class Pools:
    """Membership and plan as last told; `News` knows what is old."""

    def __init__(
        self,
        models: Sequence[Model],
        specs: Sequence[PoolSpec],
        legs: LegRules = TWO_LEGS,
        *,
        slow_start_s: float = 0.0,
    ) -> None:
        direct = legs.direct_below_tokens > 0
        self._pools = {
            spec.id: Pool(spec, slow_start_s=slow_start_s, direct=direct) for spec in specs
        }
        self._names = {n: model.name for model in models for n in (model.name, *model.aliases)}
        self._models: dict[ModelName, ModelPools] = {}
        for model in models:
            pools = [p for p in self._pools.values() if p.spec.model == model.name]
            if pools:
                self._models[model.name] = ModelPools(model.name, pools, legs)
        self._by_name = {
            name: self._models[model]
            for name, model in self._names.items()
            if model in self._models
        }
        self.plan: RoutingPlan | None = None

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools.values())

    def __getitem__(self, pool_id: PoolId) -> Pool:
        return self._pools[pool_id]

    @property
    def names(self) -> tuple[str, ...]:
        """Names and aliases of the models that some pool serves."""
        return tuple(self._by_name)

    @property
    def models(self) -> tuple[ModelPools, ...]:
        return tuple(self._models.values())

    def resolve(self, name: str) -> ModelName:
        """The model of this name or alias; `name` itself if there is none."""
        return self._names.get(name, ModelName(name))

    def model(self, name: str) -> ModelPools:
        """The pools of a model by name or alias. Raises `RequestError` if there are none."""
        pools = self._by_name.get(name)
        if pools is None:
            raise RequestError(
                f"the model {name[:200]!r} does not exist; GET /v1/models lists those that do",
                status=404,
                code="model_not_found",
                param="model",
            )
        return pools

    def reuses(self, name: str) -> bool:
        """Whether requests for the model of this name or alias should tell their `ties`."""
        pools = self._by_name.get(name)
        return pools is not None and pools.reuses

    @property
    def read_kv_events(self) -> bool:
        """Whether any pool's engines tell what they hold."""
        return any(pool.reuse is not None and pool.reuse.holdings is not None for pool in self)

    def ready(self, name: str, now_s: float) -> bool:
        """Whether a request for the model of this name or alias could be served end to end."""
        pools = self._by_name.get(name)
        return pools is not None and pools.ready(now_s) is None

    def apply_members(self, members: PoolMembers) -> bool:
        """Take a pool's membership; False if it is known or of an unknown pool."""
        pool = self._pools.get(members.pool_id)
        if pool is None or not pool.apply(members):
            return False
        self._forget_shares()
        return True

    def can_use(self, plan: RoutingPlan) -> bool:
        """Whether wherever it has shares some are above 0 and of pools that there are."""
        return all(
            not shares or any(share > 0.0 and p in self._pools for p, share in shares.items())
            for stages in plan.shares.values()
            for shares in stages.values()
        )

    def apply_plan(self, plan: RoutingPlan) -> bool:
        """Take a plan; False if it is known."""
        known = self.plan
        if known is not None and (plan.term, plan.version) == (known.term, known.version):
            return False
        self.plan = plan
        self._forget_shares()
        return True

    def _forget_shares(self) -> None:
        for model in self._models.values():
            model.look_again()

    def shares(self, class_name: ClassName, model: ModelPools, stage: Stage) -> Shares:
        """Where requests of the class should go; by capacity as long as no plan says."""
        known = model.shares[stage]
        shares = known.get(class_name)
        if shares is None:
            turns = model.turns[stage].setdefault(class_name, Turns())
            shares = model.ordered(stage) or self._planned(class_name, model, stage, turns)
            shares = known[class_name] = shares or _by_capacity(model.of(stage), turns)
        return shares

    def _planned(
        self, class_name: ClassName, model: ModelPools, stage: Stage, turns: Turns
    ) -> Shares | None:
        if self.plan is None:
            return None
        pools = {p.id: p for p in model.of(stage)}
        shares = self.plan.shares.get(class_name, {}).get(stage, {})
        weights = _normal({p: share for p, share in shares.items() if p in pools})
        if not weights:
            return None
        order = (*self.plan.spill.get(class_name, {}).get(stage, ()), *weights)
        spill = dict.fromkeys(pool_id for pool_id in order if pool_id in pools)
        return Shares(
            weights=weights,
            turns=turns,
            spill=tuple(pools[pool_id] for pool_id in spill),
            others=tuple(p for p in pools.values() if p.id not in spill),
            planned=True,
        )


def _by_capacity(pools: Sequence[Pool], turns: Turns) -> Shares:
    weights = _normal({p.id: p.capacity() for p in pools})
    return Shares(weights=weights, turns=turns, spill=tuple(pools), others=(), planned=False)


def _normal(weights: Mapping[PoolId, float]) -> dict[PoolId, float]:
    total = sum(weights.values())
    return {p: w / total for p, w in weights.items() if w > 0.0} if total > 0.0 else {}
