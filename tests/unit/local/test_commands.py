"""What the children of a local fleet are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.local.test_replicas import fleet, pool
from weir.domain.fleet import Budget, KvEvents
from weir.domain.ids import WorkerId
from weir.local.commands import Addresses, Commands
from weir.local.replicas import Replica
from weir.runtime.clock import Clock


def _command(**changes: Any) -> list[str]:
    commands = Commands(
        fleet=fleet(Budget(gpus=4)),
        fleet_arguments=(),
        addresses=Addresses(public=1, nats=2, actuator=3, global_planner=4, control={}),
        clock=Clock(),
        profiles=Path("/nowhere"),
    )
    spec = replace(pool(), **changes)
    return commands.engine(Replica(id=WorkerId("chat-0"), pool=spec, port=5))


def test_an_engine_drains_for_as_long_as_whoever_stops_it_lets_it() -> None:
    command = _command()
    a_day_s = 86_400.0
    assert float(command[command.index("--drain-timeout-s") + 1]) > a_day_s


def test_engines_publish_kv_events_where_each_has_ports_of_its_own() -> None:
    told = KvEvents(port=10_000, replay_port=20_000, per_worker=True)
    command = _command(kv_events=told)
    at = command.index("--kv-events-port")
    assert command[at : at + 4] == ["--kv-events-port", "10005", "--kv-replay-port", "20005"]
    assert "--kv-events-port" not in _command(kv_events=replace(told, per_worker=False))
    assert "--kv-replay-port" not in _command(kv_events=replace(told, replay_port=None))
