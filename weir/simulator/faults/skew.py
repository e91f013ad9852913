"""Clocks that are wrong: off by an offset, running fast or slow, at another time of day."""

from weir.simulator.faults.port import Stage

__all__ = ["SkewedClocks"]

_DOWN_S = 0.3


class SkewedClocks:
    """Clocks are read from a process's start on, so processes are started again, one by one."""

    name = "skew"
    help = "clocks of restarted processes are off, drift by up to 3 %, and tell another time of day"
    of_roles = True

    def start(self, stage: Stage) -> None:
        roles, events = stage.roles, stage.world.events
        skew = roles.plane.skew

        def set_clocks(offset_s: float, drift: float, utc_s: float) -> None:
            skew.offset_s, skew.drift, skew.utc_s = offset_s, drift, utc_s

        def happen() -> None:
            living = [process for process in roles.own_processes if process.alive]
            if living:
                process = stage.rng.choice(living)
                stage.note("started again with a wrong clock", process=process.name)
                process.crash()
                events.after(_DOWN_S, lambda _: process.start())

        events.at(stage.from_s, lambda _: set_clocks(1000.0, 0.03, 300.0))
        events.at(stage.calm_s, lambda _: set_clocks(0.0, 0.0, 0.0))
        stage.moments(20.0, happen)
