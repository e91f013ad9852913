"""Whose term the newest one is, on a store that fails as it likes."""

import time
from typing import cast

import pytest

from globalplanner.adapters.nats import NatsTerms
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.runtime.bus import Bus


class Store:
    """One key, as the bus has it. `unheard`: writes happen, and nobody says so."""

    connected = True

    def __init__(self) -> None:
        self.entry: tuple[bytes, int] | None = None
        self.unheard = False

    async def kv_get(self, bucket: str, key: str, **_: float) -> tuple[bytes, int] | None:
        return self.entry

    async def kv_update(
        self, bucket: str, key: str, value: bytes, revision: int, **_: float
    ) -> int:
        if (self.entry[1] if self.entry is not None else 0) != revision:
            raise StaleRevisionError("somebody was first")
        self.entry = (value, revision + 1)
        if self.unheard:
            raise UnavailableError("no answer")
        return revision + 1


def terms(store: Store) -> NatsTerms:
    return NatsTerms(cast(Bus, store), "fleet")


async def test_terms_begin_at_the_time_of_day_and_only_grow() -> None:
    store, began_ms = Store(), time.time_ns() // 1_000_000
    first = await terms(store).take()
    assert began_ms < first <= time.time_ns() // 1_000_000 + 1
    second = terms(store)
    assert await second.take() == first + 1
    assert await second.newest() == first + 1
    assert await second.take(above=first + 9) == first + 10


async def test_a_store_that_has_lost_its_data_gives_no_number_away_again() -> None:
    store = Store()
    first = await terms(store).take()
    store.entry = None
    time.sleep(0.002)
    assert await terms(store).take() > first


async def test_a_term_written_without_hearing_so_is_not_a_later_leaders() -> None:
    store = Store()
    own = terms(store)
    term = await own.take()
    store.unheard = True
    with pytest.raises(UnavailableError):
        await own.take()
    assert await own.newest() == term
    assert await terms(store).newest() == term + 1, "for others it is"


async def test_what_is_no_term_is_refused_and_says_what_to_do() -> None:
    store = Store()
    store.entry = (b"many", 3)
    with pytest.raises(UnavailableError, match="holds b'many', not a number; delete that key"):
        await terms(store).take()
