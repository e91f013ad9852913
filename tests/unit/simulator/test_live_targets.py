"""What classes are to meet changes while the fleet runs: all of weir's roles follow.

A decode iteration takes 20 ms whoever is in it, so within 10 ms nothing can be decoded.
"""

from dataclasses import replace
from pathlib import Path

from globalplanner.service import GlobalPlanner
from tests.unit.simulator.worlds import scenario
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides, effective_classes
from weir.simulator.policies.weir import Weir
from weir.simulator.world import World

SHORT = ClassName("short")
_STRICT = {SHORT: ClassTargets(itl_s=0.01, priority=4), ClassName("nobody"): ClassTargets(itl_s=1)}


class _Watched(Weir):
    """Sets targets at 20 s and takes them back at 40 s; `seen` is what there is at some times."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[float, tuple[float, int, bool]] = {}

    def start(self, world: World) -> None:
        super().start(world)

        def look(at_s: float) -> None:
            world.events.at(at_s, lambda _: self._look(at_s))

        world.events.at(20.0, lambda _: self._revise(Overrides(targets=_STRICT)))
        world.events.at(40.0, lambda _: self._revise(Overrides()))
        for at_s in (19.0, 30.0, 50.0):
            look(at_s)

    def _revise(self, overrides: Overrides) -> None:
        planner = self._planner()
        classes = effective_classes(planner.document.classes, overrides.targets)
        planner.revise(replace(planner.document, classes=classes), overrides)

    def _look(self, at_s: float) -> None:
        short = next(c for c in self.routers[0].dispatch.classes if c.name == SHORT)
        ledger = self._planner().ledger
        report = ledger.accounts[PoolId("decode")].report if ledger is not None else None
        serves = report is not None and SHORT in report.capacity_rps
        self.seen[at_s] = short.slo.itl_s, short.priority, serves

    def _planner(self) -> GlobalPlanner:
        planner = self.global_planners[0].planner
        assert planner is not None
        return planner


def test_routers_and_pool_planners_follow_targets_and_then_the_document_again(
    tmp_path: Path,
) -> None:
    policy = _Watched()
    rows = [(float(i), 500, 11) for i in range(1, 60)]
    World(scenario(tmp_path, rows, to_s=60.0), policy).run()
    assert policy.seen == {19.0: (0.05, 0, True), 30.0: (0.01, 4, False), 50.0: (0.05, 0, True)}
