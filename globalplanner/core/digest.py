"""A fingerprint of what a decision was made from: equal inputs can be told from unequal ones.

Stable over processes, machines and hash seeds. The order of pools, classes and limits does not
matter, as it does not to the decision.
"""

import hashlib
from dataclasses import replace

import orjson

from globalplanner.core.arbiter.snapshot import Rules, Snapshot

__all__ = ["digest_of"]


def digest_of(snapshot: Snapshot, rules: Rules) -> str:
    """SHA-256 in hexadecimal over a canonical form: JSON with sorted keys, exact floats.

    A tuple keeps its order, a set has none. Numbers that are not finite count as None.
    """
    ordered = replace(
        snapshot,
        pools=tuple(sorted(snapshot.pools, key=lambda view: view.spec.id)),
        classes=tuple(sorted(snapshot.classes, key=lambda c: c.name)),
        limits=tuple(sorted(snapshot.limits, key=lambda limit: limit.name)),
    )
    canonical = orjson.dumps(
        (ordered, rules), default=_sorted, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )
    return hashlib.sha256(canonical).hexdigest()


def _sorted(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")
