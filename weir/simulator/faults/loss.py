"""Messages that never arrive."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Loss"]


class Loss:
    name = "loss"
    help = "up to a third of all messages between roles is lost for a while"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            weather.loss = stage.rng.uniform(0.05, 0.35)
            stage.note("messages are lost", share=round(weather.loss, 3))
            return heal

        def heal() -> None:
            weather.loss = 0.0
            stage.note("over")

        stage.episodes(25.0, (5.0, 40.0), begin)
