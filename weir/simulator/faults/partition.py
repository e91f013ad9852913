"""Two processes that cannot reach each other."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Partition"]


class Partition:
    name = "partition"
    help = "two processes, the store and the cluster's API among them, cannot reach each other"
    of_roles = True

    def start(self, stage: Stage) -> None:
        roles = stage.roles
        weather = roles.plane.network.weather

        def begin() -> Heal:
            one, other = stage.rng.sample(roles.processes, 2)
            between = sorted((one.name, other.name))
            weather.cut_off(one.name, other.name)
            stage.note("cut off", between=between)

            def heal() -> None:
                weather.rejoin(one.name, other.name)
                stage.note("over", between=between)

            return heal

        for _ in range(2):
            stage.episodes(15.0, (3.0, 45.0), begin)
