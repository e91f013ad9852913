"""What the children of a local fleet are told."""

from pathlib import Path

from tests.unit.local.test_replicas import fleet, pool
from weir.domain.fleet import Budget
from weir.domain.ids import WorkerId
from weir.local.commands import Addresses, Commands
from weir.local.replicas import Replica
from weir.runtime.clock import Clock


def test_an_engine_drains_for_as_long_as_whoever_stops_it_lets_it() -> None:
    commands = Commands(
        fleet=fleet(Budget(gpus=4)),
        fleet_arguments=(),
        addresses=Addresses(public=1, nats=2, actuator=3, global_planner=4, control={}),
        clock=Clock(),
        profiles=Path("/nowhere"),
    )
    command = commands.engine(Replica(id=WorkerId("chat-0"), pool=pool(), port=5))
    a_day_s = 86_400.0
    assert float(command[command.index("--drain-timeout-s") + 1]) > a_day_s
