"""The key-value store of the control plane, as NATS JetStream has it: revisions and watches.

It is one process; what it has stored survives its crash unless it is wiped. Whoever it `splits`
off speaks to a node that has been cut off from the others and does not know it: that answers reads
with what was there then, and can write nothing.
"""

from collections.abc import Callable

from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.simulator.network import Kind, Network
from weir.simulator.process import Process

__all__ = ["Store"]

_Value = object
_Watch = tuple[Process, Kind, Callable[[_Value], None]]


class Store:
    """Values are the domain's own objects: nothing here needs bytes."""

    def __init__(self, network: Network) -> None:
        self.process = Process("store")
        self._network = network
        self._values: dict[str, tuple[_Value, int]] = {}
        self._revision = 0
        self._watches: dict[str, list[_Watch]] = {}
        self._old: dict[str, dict[str, tuple[_Value, int]]] = {}
        """What processes read that are split off, by their names."""
        self.wipes = 0
        """How often it has lost everything."""

    def get(self, key: str, reader: str = "") -> tuple[_Value, int] | None:
        return self._old.get(reader, self._values).get(key)

    def put(self, key: str, value: _Value, writer: str = "") -> int:
        """Raises `UnavailableError` if `writer` is split off."""
        if writer in self._old:
            raise UnavailableError(f"{key}: the store has no majority here")
        self._revision += 1
        self._values[key] = (value, self._revision)
        for process, kind, take in self._watches.get(key, ()):
            self._push(process, kind, take, value)
        return self._revision

    def update(self, key: str, value: _Value, revision: int, writer: str = "") -> int:
        """Compare and set; 0 creates.

        Raises `StaleRevisionError` if a newer one is there. A store that knows less than the
        caller proves nothing: `UnavailableError`, as the bus has it.
        """
        found = self.get(key, writer)
        newest = found[1] if found is not None else 0
        if newest > revision:
            raise StaleRevisionError(f"{key} is at revision {newest}, past {revision}")
        if newest < revision:
            raise UnavailableError(f"{key}: the store knows revisions up to {newest} only")
        return self.put(key, value, writer)

    def watch(self, process: Process, key: str, kind: Kind, take: Callable[[_Value], None]) -> None:
        """Push the value, now and whenever it changes, for as long as `process` lives on.

        While the store is dead there is nothing to hear, as with a client that reconnects.
        """
        life = process.life

        def take_in_this_life(value: _Value) -> None:
            if process.life == life:
                take(value)

        self._watches.setdefault(key, []).append((process, kind, take_in_this_life))
        found = self._values.get(key)
        if found is not None:
            self._push(process, kind, take_in_this_life, found[0])

    def wipe(self) -> None:
        """Lose everything, as a store without a disk does when it dies.

        Revisions go on: a new bucket begins them with the time of day.
        """
        self._values.clear()
        self.wipes += 1

    def split_off(self, process: str) -> None:
        """From now on the process of this name reads what is there now."""
        self._old.setdefault(process, dict(self._values))

    @property
    def is_split(self) -> bool:
        return bool(self._old)

    def join(self, process: str) -> None:
        self._old.pop(process, None)

    def _push(
        self, process: Process, kind: Kind, take: Callable[[_Value], None], value: _Value
    ) -> None:
        if self.process.alive:
            self._network.send(self.process, process, kind, lambda: take(value))
