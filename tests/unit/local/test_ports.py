"""Ports are free, distinct, and out of the way of outgoing connections."""

import socket

from weir.local.ports import HOST, Ports, can_listen


def test_ports_are_distinct_and_free() -> None:
    ports = Ports()
    taken = [ports.take() for _ in range(20)]
    assert len(set(taken)) == 20
    assert all(can_listen(port) is None for port in taken)


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        error = can_listen(server.getsockname()[1])
    assert error is not None
    assert error.strerror == "Address already in use"
