"""The store does what it is asked, and whoever has asked does not hear of it."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["LostAnswers"]


class LostAnswers:
    name = "lost-answers"
    help = "the record is written or read, but a third of the answers or more are lost"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            weather.unanswered["record"] = share = stage.rng.uniform(0.3, 0.9)
            stage.note("answers are lost", share=round(share, 3))
            return heal

        def heal() -> None:
            weather.unanswered.clear()
            stage.note("over")

        stage.episodes(30.0, (3.0, 25.0), begin)
