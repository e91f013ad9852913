"""Messages that are late, and overtaken by later ones."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Delay"]


class Delay:
    name = "delay"
    help = "up to 40 % of messages take up to 8 s more, and arrive out of order"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            weather.slow = stage.rng.uniform(0.05, 0.4)
            stage.note("messages are late", share=round(weather.slow, 3))
            return heal

        def heal() -> None:
            weather.slow = 0.0
            stage.note("over")

        stage.episodes(25.0, (5.0, 40.0), begin)
