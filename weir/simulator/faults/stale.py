"""Telemetry that tells of long ago."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Stale"]


class Stale:
    name = "stale"
    help = "telemetry arrives up to 30 s late"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            late_s = stage.rng.uniform(3.0, 30.0)
            weather.late_s.update({"traffic": late_s, "forward-pass": late_s})
            stage.note("telemetry is late", late_s=round(late_s, 3))
            return heal

        def heal() -> None:
            weather.late_s.clear()
            stage.note("over")

        stage.episodes(30.0, (5.0, 30.0), begin)
