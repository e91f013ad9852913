from weir.engine.kv import KvCache


def test_the_least_recently_used_prefix_is_evicted_from_its_end() -> None:
    kv = KvCache(6)
    kv.acquire((1, 2, 3), 3)
    kv.acquire((7, 8, 9), 3)
    kv.release((1, 2, 3), 3, 3)
    kv.release((7, 8, 9), 3, 3)
    assert kv.take(2)
    assert kv.resident((1, 2, 3)) == 1
    assert kv.resident((7, 8, 9)) == 3


def test_a_block_in_use_is_never_evicted() -> None:
    kv = KvCache(3)
    kv.acquire((1, 2), 2)
    kv.acquire((1, 2), 2)
    kv.release((1, 2), 2, 2)
    assert (kv.used_blocks, kv.idle_blocks) == (2, 0)
    assert kv.acquire((), 2) is None
    assert kv.acquire((), 1) == 0
    assert kv.resident((1, 2)) == 2


def test_a_hit_on_an_idle_block_takes_it_into_use() -> None:
    kv = KvCache(3)
    kv.acquire((1, 2), 2)
    kv.release((1, 2), 2, 2)
    assert kv.free_blocks == 3
    assert kv.acquire((1, 2, 3), 4) is None
    assert kv.acquire((1, 2, 3), 3) == 2
    assert (kv.used_blocks, kv.idle_blocks) == (3, 0)


def test_a_block_that_was_not_computed_is_forgotten() -> None:
    kv = KvCache(4)
    kv.acquire((1, 2, 3), 4)
    kv.release((1, 2, 3), 4, computed_blocks=1)
    assert kv.resident((1, 2, 3)) == 1
    assert (kv.used_blocks, kv.idle_blocks) == (0, 1)
