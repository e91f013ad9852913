"""The index of prompts' beginnings against one that remembers paths and looks at everything."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from router.core.reuse.prefix import PrefixIndex

Path = tuple[int, ...]

PATHS = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)
SIZES = (3, 1, 4, 1, 5, 9)
"""Of the blocks by their place."""
ENDS = (3, 4, 8, 9, 14, 23)
MOST_BLOCKS = 14
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 3), PATHS, st.integers(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 3), st.just(()), st.just(0)),
        st.tuples(st.just("trim"), st.integers(0, 3), st.just(()), st.integers(0, 30)),
    ),
    max_size=40,
)


class Naive:
    """Per holder, whole paths to blocks, least recently used first. Searches all of it."""

    def __init__(self) -> None:
        self.held: dict[int, list[Path]] = {}

    def insert(self, holder: int, path: Path, most: int) -> None:
        paths = self.held.pop(holder, [])
        self.held[holder] = paths
        for end in range(len(path), 0, -1):
            if path[:end] in paths:
                paths.remove(path[:end])
            paths.append(path[:end])
        self.trim(holder, most)
        while sum(map(len, self.held.values())) > MOST_BLOCKS:
            next(each for each in self.held.values() if each).pop(0)
        self.held = {each: paths for each, paths in self.held.items() if paths}

    def trim(self, holder: int, most: int) -> bool:
        paths = self.held.get(holder, [])
        before = len(paths)
        while sum(SIZES[len(each) - 1] for each in paths) > most:
            paths.pop(0)
        return len(paths) < before

    def depth(self, holder: int, path: Path) -> int:
        paths = self.held.get(holder, [])
        return max((end for end in range(1, len(path) + 1) if path[:end] in paths), default=0)


def chain(path: Path) -> Sequence[int]:
    """Each block's number stands for the whole path to it."""
    return [sum((step + 1) * 4**at for at, step in enumerate(path[:end])) for end in range(1, 7)][
        : len(path)
    ]


@given(STEPS, PATHS)
def test_the_index_knows_what_a_search_through_everything_finds(
    steps: list[tuple[str, int, Path, int]], asked: Path
) -> None:
    index: PrefixIndex[int] = PrefixIndex(MOST_BLOCKS)
    naive = Naive()
    for what, holder, path, most in steps:
        if what == "insert":
            index.insert(holder, chain(path), ENDS, most)
            naive.insert(holder, path, most)
        elif what == "trim":
            assert index.trim(holder, most) is naive.trim(holder, most)
        else:
            index.forget(holder)
            naive.held.pop(holder, None)
        depths = {holder: naive.depth(holder, asked) for holder in range(4)}
        hashes = chain(asked)
        assert {holder: index.depth(holder, hashes) for holder in range(4)} == depths
        assert index.best_depth(hashes) == max(depths.values())
        found = list(index.best(hashes))
        assert dict(found) == {holder: depth for holder, depth in depths.items() if depth}
        assert [depth for _, depth in found] == sorted(dict(found).values(), reverse=True)
        assert index.blocks == sum(map(len, naive.held.values())) <= MOST_BLOCKS


def test_looking_costs_nothing_for_workers_that_have_less() -> None:
    index: PrefixIndex[int] = PrefixIndex(1 << 20)
    shared = list(range(1, 5))
    for holder in range(1000):
        index.insert(holder, shared, range(1, 100), 1000)
    own = [*shared, *range(100, 160)]
    index.insert(7, own, range(1, 100), 1000)
    looked = _Counting(own)
    assert next(iter(index.best(looked))) == (7, 64)
    assert looked.reads <= 3


class _Counting(list[int]):
    reads = 0

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        self.reads += 1
        return super().__getitem__(at)
