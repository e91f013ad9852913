"""What integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nats_cluster import Cluster
from tests.integration.nats_process import Server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Server]:
    """A NATS server with JetStream that keeps its files in the test's folder."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nats_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three NATS nodes with JetStream that keep their files in the test's folder."""
    yield from Cluster.running(tmp_path)
