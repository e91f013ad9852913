"""What one mock engine is told at its start. Parsed and checked by the command line."""

from dataclasses import dataclass, field

from weir.domain.errors import WeirError
from weir.domain.fleet import Role
from weir.domain.ids import PoolId, WorkerId
from weir.domain.profile import EngineProfile
from weir.runtime.clock import Clock

__all__ = ["MockerSettings", "NatsSettings", "SettingsError"]

_POOL = PoolId("mock")
_WORKER = WorkerId("mocker")


class SettingsError(WeirError):
    """The command line or the profile cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """Where forward-pass metrics go, and under which name."""

    url: str
    fleet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MockerSettings:
    """One engine. Times are model seconds unless named otherwise."""

    models: tuple[str, ...]
    """Names it answers to; the first is the one it gives."""
    host: str = "127.0.0.1"
    port: int = 0
    kv_host: str | None = None
    """Where other engines reach this one; None: at `host`."""
    profile: EngineProfile = field(default_factory=EngineProfile)
    clock: Clock = field(default_factory=Clock)
    context_limit_tokens: int | None = None
    """Most tokens of prompt and output together; None: what the KV space holds."""
    role: Role = Role.AGG
    pool: PoolId = _POOL
    worker: WorkerId = _WORKER
    start_up_s: float = 0.0
    kv_hold_s: float = 480.0
    """How long the KV of a prefill leg waits to be fetched."""
    drain_timeout_wall_s: float = 60.0
    max_body_bytes: int = 16 * 1024 * 1024
    nats: NatsSettings | None = None
    kv_events_port: int | None = None
    """Where the prefix cache's blocks are published; None: nowhere. 0 takes a free port."""
    kv_replay_port: int | None = None
    """Where those can be asked for that were published before."""
