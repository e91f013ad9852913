"""Pages of engines that are cut off, garbled or of something else."""

from hypothesis import given
from hypothesis import strategies as st

from poolplanner.adapters.scrape import parse
from poolplanner.core.engine_metrics import reading, sample_between
from poolplanner.core.engine_names import NAMES
from weir.domain.ids import PoolId, WorkerId

LINES = st.builds(
    "{}{} {}".format,
    st.sampled_from(sorted(NAMES)),
    st.sampled_from(["", "{}", '{engine="0"}', '{block_size="x",num_gpu_blocks="-1"}', '{"']),
    st.floats().map(str) | st.text(max_size=6),
)


@given(st.lists(LINES | st.text(max_size=30), max_size=30), st.data())
def test_no_page_does_harm_and_what_is_known_is_sound(
    lines: list[str], data: st.DataObject
) -> None:
    before = after = None
    for each in (lines, data.draw(st.permutations(lines))):
        try:
            before, after = after, reading(parse("\n".join(each)))
        except ValueError:
            continue
    if after is None:
        return
    sample = sample_between(
        before,
        after,
        pool_id=PoolId("chat"),
        worker_id=WorkerId("w"),
        sequence=1,
        window_s=5.0,
    )
    for name in sample.__slots__:
        value = getattr(sample, name)
        assert value is None or isinstance(value, str) or value >= 0
    if sample.kv_used_tokens is not None:
        assert sample.kv_total_tokens is not None
        assert sample.kv_used_tokens <= sample.kv_total_tokens
