"""The document's schema, walked by path: which keys a place takes, and the likeliest typo."""

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from weir.fleet.document import Document
from weir.fleet.tree import Path

__all__ = ["is_open", "json_schema", "known_keys", "suggestion"]


@cache
def json_schema() -> dict[str, Any]:
    """JSON schema of the Fleet document, with the keys as they are written in YAML."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(by_alias=True),
    }


def known_keys(path: Path) -> tuple[str, ...]:
    """Keys that the mapping at `path` may have; empty where any name goes or none."""
    return tuple(dict.fromkeys(key for node in _at(path) for key in node.get("properties", ())))


def is_open(path: Path) -> bool:
    """Whether `path` is a mapping from free names, such as `spec.profiles`."""
    return any(_of_any_name(node) for node in _at(path))


def suggestion(word: str, known: Iterable[str]) -> str:
    """ " (did you mean x?)", or the choices when none is close and they are few."""
    choices = list(dict.fromkeys(known))
    by_letters = {choice.lower().replace("_", ""): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("_", ""), by_letters, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {by_letters[close[0]]!r}?)"
    if not choices:
        return ""
    shown = ", ".join(choices[:20])
    return f" (known: {shown}{', ...' if len(choices) > 20 else ''})"


def _at(path: Path) -> list[dict[str, Any]]:
    nodes = list(_alternatives(json_schema()))
    for step in path:
        nodes = [inner for node in nodes for inner in _step(node, step)]
    return nodes


def _alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`node` with references followed and unions opened."""
    if "$ref" in node:
        yield from _alternatives(json_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]])
        return
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if not branches:
        yield node
    for branch in branches:
        yield from _alternatives(branch)


def _step(node: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        inner = [node["items"]] if "items" in node else []
    elif step in node.get("properties", ()):
        inner = [node["properties"][step]]
    else:
        inner = _of_any_name(node)
    for found in inner:
        yield from _alternatives(found)


def _of_any_name(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Schemas of the values under free names."""
    free = node.get("additionalProperties")
    return [
        *node.get("patternProperties", {}).values(),
        *([free] if isinstance(free, dict) else []),
    ]
