"""Why a request class is served as it is, as text for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from globalplanner.core.arbiter.snapshot import PoolView
from globalplanner.decisions import wording
from weir.domain.fleet import RequestClass, Role, Stage
from weir.domain.ids import PoolId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import ClassLoad

__all__ = ["ClassNow", "class_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassNow:
    """What there is to know of one class. `load`: None if it is unknown, and `holding` says why.

    `pools`: those that are weighed. `shares`, `spill`: as in the routing plan.
    """

    spec: RequestClass
    load: ClassLoad | None
    reason: str
    pools: Sequence[PoolView] = ()
    shares: Mapping[Stage, Mapping[PoolId, float]] = field(default_factory=dict)
    spill: Mapping[Stage, tuple[PoolId, ...]] = field(default_factory=dict)
    changed: ClassTargets = field(default_factory=ClassTargets)
    prices: Sequence[str] = ()
    holding: str = ""


def class_lines(this: ClassNow) -> list[str]:
    """First what it is to meet and what is offered, then who serves it, then what would change."""
    told = [
        f"class {this.spec.name}: {_targets(this)}",
        wording.line("offered", _offered(this)),
    ]
    if this.reason:
        told.append(wording.line("why", this.reason))
    for stage in Stage:
        told += wording.lines(stage.value, list(_stage(this, stage)))
    if this.holding:
        told.append(wording.line("waits for", f"what is not known: {this.holding}"))
    return told + wording.lines("to change", list(_changes(this)))


def _targets(this: ClassNow) -> str:
    slo = this.spec.slo
    text = (
        f"TTFT {slo.ttft_s * 1e3:g} ms, ITL {slo.itl_s * 1e3:g} ms, "
        f"weight {this.spec.weight:g}, priority {this.spec.priority}"
    )
    return text if this.changed == ClassTargets() else f"{text} (set by operators)"


def _offered(this: ClassNow) -> str:
    if this.load is None:
        return "unknown"
    load = this.load
    return (
        f"{wording.rps(load.rate_rps)} forecast, {wording.rps(load.rate_high_rps)} planned for; "
        f"{load.isl_tokens:.0f} tokens in, {load.osl_tokens:.0f} out"
    )


def _stage(this: ClassNow, stage: Stage) -> Iterator[str]:
    """Who gets it; an aggregated pool is with prefill, for both."""
    shares = this.shares.get(stage, {})
    if shares:
        split = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        yield "goes to " + wording.some([f"{id} {wording.percent(share)}" for id, share in split])
        later = [id for id in this.spill.get(stage, ()) if id not in shares]
        if later:
            yield f"then to {wording.some(later)}"
    for model, pools in sorted(_by_model(this.pools, stage).items()):
        able = [view for view in pools if view.capacity_rps.get(this.spec.name, 0.0) > 0.0]
        if able:
            yield f"{model}: " + wording.some([_ability(this, view) for view in able])
        else:
            names = wording.some([view.spec.id for view in pools])
            yield f"{model}: no pool can serve it within SLO, of {names}"


def _ability(this: ClassNow, view: PoolView) -> str:
    rate = view.capacity_rps[this.spec.name]
    return f"{view.spec.id} {wording.rps(rate)} a replica, {view.ready} ready"


def _changes(this: ClassNow) -> Iterator[str]:
    for stage in Stage:
        for model, pools in sorted(_by_model(this.pools, stage).items()):
            if not any(view.capacity_rps.get(this.spec.name, 0.0) > 0.0 for view in pools):
                target = "TTFT" if stage is Stage.PREFILL else "ITL"
                yield f"a longer {target}, shorter prompts, or a faster {stage} pool of {model}"
    yield from this.prices


def _by_model(pools: Sequence[PoolView], stage: Stage) -> dict[str, list[PoolView]]:
    """Pools that do the stage; aggregated ones are with prefill."""
    found: dict[str, list[PoolView]] = {}
    for view in sorted(pools, key=lambda view: view.spec.id):
        own = Stage.DECODE if view.spec.role is Role.DECODE else Stage.PREFILL
        if own is stage:
            found.setdefault(view.spec.model, []).append(view)
    return found
