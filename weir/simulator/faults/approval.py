"""Decisions wait for a person, who approves some, rejects some and lets others lie."""

from globalplanner.core.operators.proposals import Gate, Mode
from weir.simulator.faults.port import Heal, Stage

__all__ = ["Approval"]

_LOOK_S = 3.0


class Approval:
    name = "approval"
    help = "decisions need approval for a while; a person approves some and rejects some"
    of_roles = True

    def start(self, stage: Stage) -> None:
        roles, rng, world = stage.roles, stage.rng, stage.world

        def switch(mode: Mode) -> None:
            stage.note("mode", mode=str(mode))
            for role in roles.global_planners:
                role.mode = mode
                role.gate.switch(mode)

        def begin() -> Heal:
            switch(Mode.APPROVE)
            world.events.after(rng.uniform(0.0, _LOOK_S), look)
            return heal

        def heal() -> None:
            switch(Mode.ACT)

        def look(_: object) -> None:
            leader = roles.leader()
            if leader is not None and leader.gate.mode is Mode.APPROVE:
                decide(leader.gate)
            if roles.global_planners[0].mode is Mode.APPROVE:
                world.events.after(rng.uniform(0.0, 2.0 * _LOOK_S), look)

        def decide(gate: Gate) -> None:
            for proposal in gate.waiting:
                chance = rng.random()
                if chance < 0.5:
                    stage.note("approved", proposal=proposal.id)
                    world.invariants.decisions.approved(gate.approve(proposal.id))
                elif chance < 0.7:
                    stage.note("rejected", proposal=proposal.id)
                    gate.reject(proposal.id)

        stage.episodes(50.0, (15.0, 60.0), begin)
