"""Ports are free, distinct, and out of the way of outgoing connections."""

import socket
from pathlib import Path

import pytest

from tests.unit.local.test_replicas import fleet, pool
from weir.domain.fleet import Budget
from weir.local.engines import Engines
from weir.local.ports import HOST, Ports, can_listen
from weir.local.probe import HttpProbe
from weir.local.replicas import Refusal
from weir.runtime.clock import Clock


def test_ports_are_distinct_and_free() -> None:
    ports = Ports()
    taken = [ports.take() for _ in range(20)]
    assert len(set(taken)) == 20
    assert all(can_listen(port) is None for port in taken)


def test_ports_of_starts_that_were_refused_do_not_run_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("weir.local.ports._below_ephemeral", lambda: 10_300)
    budget = Budget(gpus=4)
    engines = Engines(
        fleet=fleet(budget, node_gpus=0),
        clock=Clock(),
        ports=Ports(),
        logs=tmp_path,
        command=lambda replica: (),
        probe=HttpProbe(),
    )
    for _ in range(100):
        assert isinstance(engines.start(pool()), Refusal)


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        error = can_listen(server.getsockname()[1])
    assert error is not None
    assert error.strerror == "Address already in use"
