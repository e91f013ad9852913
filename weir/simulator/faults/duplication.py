"""Messages that arrive twice."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Duplication"]


class Duplication:
    name = "duplication"
    help = "up to half of all messages arrive twice"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            weather.duplication = stage.rng.uniform(0.05, 0.5)
            stage.note("messages are doubled", share=round(weather.duplication, 3))
            return heal

        def heal() -> None:
            weather.duplication = 0.0
            stage.note("over")

        stage.episodes(25.0, (5.0, 40.0), begin)
