"""Small traces as columns, for tests."""

from collections.abc import Sequence

import numpy as np

from weir.workload import TraceColumns

__all__ = ["columns_of"]


def columns_of(
    timestamp_s: Sequence[float],
    *,
    isl_tokens: Sequence[int] | None = None,
    osl_tokens: Sequence[int] | None = None,
    classes: Sequence[str | None] | None = None,
    reuse: Sequence[int] | None = None,
) -> TraceColumns:
    """Lengths are 1 and names unknown unless they are given."""
    size = len(timestamp_s)
    names = tuple(dict.fromkeys(name for name in classes or () if name is not None))
    codes = [-1 if name is None else names.index(name) for name in classes or [None] * size]
    return TraceColumns(
        timestamp_s=np.asarray(timestamp_s, np.float64),
        isl_tokens=np.asarray([1] * size if isl_tokens is None else isl_tokens, np.int64),
        osl_tokens=np.asarray([1] * size if osl_tokens is None else osl_tokens, np.int64),
        class_codes=np.asarray(codes, np.int32),
        class_names=names,
        tenant_codes=np.full(size, -1, np.int32),
        tenant_names=(),
        reuse_tokens=None if reuse is None else np.asarray(reuse, np.int64),
    )
