"""Messages that are late, and overtaken by later ones."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Delay"]

_LONGEST_S = (1.5, 8.0)


class Delay:
    name = "delay"
    help = "many messages take longer, by less than callers wait or by up to 8 s, out of order"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            weather.slow_s = stage.rng.choice(_LONGEST_S)
            weather.slow = stage.rng.uniform(0.05, 0.6)
            stage.note("messages are late", share=round(weather.slow, 3), longest_s=weather.slow_s)
            return heal

        def heal() -> None:
            weather.slow = 0.0
            stage.note("over")

        stage.episodes(25.0, (5.0, 40.0), begin)
