"""Names and orders that span fields, checked on the plain tree.

The tree may break the schema elsewhere: whatever has the wrong type is skipped here, since
the schema reports it, so that one run shows everything.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from weir.fleet.finding import Finding, at
from weir.fleet.schedule import zone_of
from weir.fleet.shape import suggestion
from weir.fleet.tree import Path, Tree

__all__ = ["reference_findings"]

_ROUNDING = 1e-9


def reference_findings(tree: Tree) -> list[Finding]:
    """Duplicate names, unknown references and numbers in the wrong order."""
    return [
        *_duplicates(tree),
        *_unknown_references(tree),
        *_tokenizers(tree),
        *_canaries(tree),
        *_classes_by_length(tree),
        *_gpu_classes(tree),
        *_time_zones(tree),
        *_replica_order(tree),
        *_empty_ranges(tree),
    ]


def _items(tree: Tree, section: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings in the list `spec.<section>`, each with its path."""
    items = tree.get(("spec", section))
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield ("spec", section, index), item


def _names(tree: Tree, section: str) -> list[str]:
    names = (item.get("name") for _, item in _items(tree, section))
    return [name for name in names if isinstance(name, str)]


def _number(item: dict[str, Any], key: str, default: int | None) -> int | None:
    """A whole number, `default` if it is left out, None if it is something else."""
    value = item.get(key)
    if value is None:
        return default
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _duplicates(tree: Tree) -> Iterator[Finding]:
    for section in ("classes", "nodeGroups", "pools"):
        seen: set[str] = set()
        for path, item in _items(tree, section):
            name = item.get("name")
            if isinstance(name, str) and name in seen:
                yield at(tree, (*path, "name"), f"the name {name!r} is used twice")
            elif isinstance(name, str):
                seen.add(name)
    yield from _duplicate_models(tree)


def _duplicate_models(tree: Tree) -> Iterator[Finding]:
    owners: dict[str, Any] = {}
    for path, model in _items(tree, "models"):
        aliases = model.get("aliases")
        named = [((*path, "name"), model.get("name"))]
        if isinstance(aliases, list):
            named += [((*path, "aliases", index), alias) for index, alias in enumerate(aliases)]
        for where, name in named:
            if isinstance(name, str) and name in owners:
                message = f"{name!r} already names the model {owners[name]!r}"
                yield at(tree, where, message)
            elif isinstance(name, str):
                owners[name] = model.get("name")


def _unknown_references(tree: Tree) -> Iterator[Finding]:
    profiles = tree.get(("spec", "profiles"))
    known = {
        "model": _names(tree, "models"),
        "nodeGroup": _names(tree, "nodeGroups"),
        "profile": [str(name) for name in profiles] if isinstance(profiles, dict) else [],
    }
    kinds = {"model": "model", "nodeGroup": "node group", "profile": "profile"}
    for path, pool in _items(tree, "pools"):
        for key, names in known.items():
            word = pool.get(key)
            if isinstance(word, str) and word not in names:
                hint = suggestion(word, names) or f" (there is no {kinds[key]} at all)"
                yield at(tree, (*path, key), f"no {kinds[key]} is named {word!r}{hint}")
        if pool.get("nodeGroup") is None and len(known["nodeGroup"]) > 1:
            message = f"is required, since there are several: {', '.join(known['nodeGroup'])}"
            yield at(tree, (*path, "nodeGroup"), message)


def _tokenizers(tree: Tree) -> Iterator[Finding]:
    models = _names(tree, "models")
    path = ("spec", "router", "tokenizers")
    tokenizers = tree.get(path)
    for name in tokenizers if isinstance(tokenizers, dict) else ():
        if name not in models:
            yield at(tree, (*path, name), f"no model has this name{suggestion(str(name), models)}")


def _canaries(tree: Tree) -> Iterator[Finding]:
    names = _names(tree, "models")
    for path, model in _items(tree, "models"):
        canary = model.get("canary")
        if not isinstance(canary, dict):
            continue
        for name in canary:
            if name == model.get("name"):
                yield at(tree, (*path, "canary", name), "a model cannot be its own canary")
            elif name not in names:
                message = f"no model is named {name!r}{suggestion(str(name), names)}"
                yield at(tree, (*path, "canary", name), message)
        shares = [each for each in canary.values() if isinstance(each, int | float)]
        if sum(shares) > 1.0 + _ROUNDING:
            message = f"the shares sum to {sum(shares):g}; there is no more than 1 to give away"
            yield at(tree, (*path, "canary"), message)


def _classes_by_length(tree: Tree) -> Iterator[Finding]:
    special = [
        item.get("on_request") is True or "only" in item for _, item in _items(tree, "classes")
    ]
    if special and all(special):
        message = "all are `on_request` or `only` for some; others need one that goes by lengths"
        yield at(tree, ("spec", "classes"), message)


def _gpu_classes(tree: Tree) -> Iterator[Finding]:
    classes = [item.get("gpuClass") for _, item in _items(tree, "nodeGroups")]
    known = [name for name in classes if isinstance(name, str)]
    places = [(path, limits) for path in _budgets(tree) for limits in (tree.get(path),)]
    named = {str(name) for _, limits in places if isinstance(limits, dict) for name in limits}
    for path, limits in places:
        if not isinstance(limits, dict):
            continue
        if not known and len(named) > 1:
            yield at(tree, path, "several GPU classes need `nodeGroups` that say where they are")
        for name in limits:
            if known and name not in known:
                message = f"no node group has this GPU class{suggestion(str(name), known)}"
                yield at(tree, (*path, name), message)


def _budgets(tree: Tree) -> Iterator[Path]:
    """Where limits of GPU classes may be: the budget and its windows."""
    yield ("spec", "budget", "gpuClasses")
    for path, _ in _windows(tree):
        yield (*path, "gpuClasses")


def _windows(tree: Tree) -> Iterator[tuple[Path, dict[str, Any]]]:
    windows = tree.get(("spec", "budget", "windows"))
    for index, item in enumerate(windows if isinstance(windows, list) else ()):
        if isinstance(item, dict):
            yield ("spec", "budget", "windows", index), item


def _time_zones(tree: Tree) -> Iterator[Finding]:
    for path, item in _windows(tree):
        name = item.get("timezone")
        if isinstance(name, str):
            try:
                zone_of(name)
            except ValueError as error:
                yield at(tree, (*path, "timezone"), str(error))


def _replica_order(tree: Tree) -> Iterator[Finding]:
    for path, pool in _items(tree, "pools"):
        for (low_key, low), (high_key, high) in pairwise(_bounds(pool)):
            if low > high:
                blamed = high_key if pool.get(high_key) is not None else low_key
                message = (
                    f"min <= floor <= guarantee <= max must hold, but {low_key} is {low} "
                    f"and {high_key} is {high}"
                )
                yield at(tree, (*path, blamed), message)


def _bounds(pool: dict[str, Any]) -> list[tuple[str, int]]:
    """The replica counts that are given, from the least to the most."""
    scaling = pool.get("scaling")
    fixed = isinstance(scaling, dict) and scaling.get("kind") == "none"
    least = _number(pool, "min_replicas", 1)
    bounds = {
        "min_replicas": least,
        "floor_replicas": _number(pool, "floor_replicas", None),
        "guarantee_replicas": _number(pool, "guarantee_replicas", None),
        "max_replicas": least if fixed else _number(pool, "max_replicas", None),
    }
    return [(key, value) for key, value in bounds.items() if value is not None]


def _empty_ranges(tree: Tree) -> Iterator[Finding]:
    for path, item in _items(tree, "classes"):
        for key in ("isl", "osl"):
            span = item.get(key)
            if not isinstance(span, dict):
                continue
            low, high = _number(span, "min", 0), _number(span, "max", None)
            if low is not None and high is not None and high <= low:
                message = f"holds nothing: max ({high}, excluded) must be above min ({low})"
                yield at(tree, (*path, key), message)
        only = item.get("only")
        for key, span in only.items() if isinstance(only, dict) else ():
            if not isinstance(span, dict):
                continue
            low, high = span.get("min"), span.get("max")
            if isinstance(low, int | float) and isinstance(high, int | float) and high < low:
                message = f"holds nothing: max ({high:g}) must not be below min ({low:g})"
                yield at(tree, (*path, "only", key), message)
