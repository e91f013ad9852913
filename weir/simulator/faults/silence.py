"""Telemetry that does not arrive."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["Silence"]

_KINDS = (("traffic",), ("forward-pass",), ("forward-pass", "traffic"))


class Silence:
    name = "silence"
    help = "nobody hears of the traffic, of the engines' forward passes, or of both"
    of_roles = True

    def start(self, stage: Stage) -> None:
        weather = stage.roles.plane.network.weather

        def begin() -> Heal:
            kinds = stage.rng.choice(_KINDS) if stage.span is None else _KINDS[-1]
            weather.silent.update(kinds)
            stage.note("silent", kinds=kinds)

            def heal() -> None:
                weather.silent.difference_update(kinds)
                stage.note("over", kinds=kinds)

            return heal

        stage.episodes(30.0, (5.0, 45.0), begin)
