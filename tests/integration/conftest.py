"""What integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nats_process import Server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Server]:
    """A NATS server with JetStream that keeps its files in the test's folder."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()
