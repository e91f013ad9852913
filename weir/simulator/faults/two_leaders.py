"""A second GlobalPlanner takes over while the first cannot see it, and both answer."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["TwoLeaders"]

_AFTER_OTHERS_S = 4.0


class TwoLeaders:
    name = "two-leaders"
    help = "a second GlobalPlanner starts while the first is cut off from the store"
    of_roles = True

    def start(self, stage: Stage) -> None:
        roles = stage.roles
        weather, store = roles.plane.network.weather, roles.plane.store.process
        pair = (roles.global_planners[0], roles.add_global_planner())

        def begin() -> Heal | None:
            first = roles.leader()
            if first not in pair:
                return None
            second = pair[1] if first is pair[0] else pair[0]
            hidden = stage.rng.random() < 0.7
            if hidden:
                weather.cut_off(first.process.name, store.name)
            second.process.crash()
            second.process.start()
            stage.note("two lead", first=first.process.name, cut_off=hidden)

            def heal() -> None:
                first.process.crash()
                if hidden:
                    weather.rejoin(first.process.name, store.name)
                stage.note("the first has ended", first=first.process.name)
                second.process.start()

            return heal

        def leave_one(_: object) -> None:
            """Others may have started both again, or ended the one that led."""
            newest = roles.leader()
            for role in pair:
                if role is not newest:
                    role.process.crash()
            if newest is None:
                pair[0].process.start()

        stage.episodes(20.0, (5.0, 40.0), begin)
        stage.world.events.at(stage.calm_s + _AFTER_OTHERS_S, leave_one)
