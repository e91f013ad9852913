"""pydantic's errors as findings: which path, and what to mend."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from weir.fleet.finding import Finding, at
from weir.fleet.shape import known_keys, suggestion
from weir.fleet.tree import Path, Tree

__all__ = ["validation_findings"]

_WORDS = {
    "missing": "is required",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:.15g}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_not_found": "needs a `kind`",
    "union_tag_invalid": "must be of kind {expected_tags}, not {tag!r}",
}
_WITHOUT_VALUE = ("missing", "too_short", "too_long", "union_tag_not_found", "union_tag_invalid")


def validation_findings(tree: Tree, error: ValidationError) -> list[Finding]:
    """All of pydantic's errors, but for lists that are short only of their wrong items."""
    errors = error.errors(include_url=False)
    within = {d["loc"][:depth] for d in errors for depth in range(len(d["loc"]))}
    return [
        at(tree, path, _message(path, details))
        for details in errors
        for path in (_yaml_path(tree, details["loc"]),)
        if not (details["type"] == "too_short" and details["loc"] in within)
    ]


def _yaml_path(tree: Tree, loc: tuple[str | int, ...]) -> Path:
    """`loc` without the names of union branches, which pydantic puts between the keys."""
    path: Path = ()
    for index, step in enumerate(loc):
        container = tree.get(path)
        inside = isinstance(container, dict) and (step in container or index == len(loc) - 1)
        inside |= isinstance(container, list) and isinstance(step, int)
        if inside and step != "[key]":
            path = (*path, step)
    return path


def _message(path: Path, details: Mapping[str, Any]) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(str(path[-1]), known_keys(path[:-1]))}"
    template = _WORDS.get(kind)
    if template is None:
        return str(details["msg"])
    words = template.format(**details.get("ctx", {}))
    if details["loc"][-1:] == ("[key]",):
        return f"the name {words}"
    if kind in _WITHOUT_VALUE or isinstance(details["input"], dict | list):
        return words
    return f"{words}, not {_brief(details['input'])}"


def _brief(value: object) -> str:
    try:
        text = "null" if value is None else repr(value)
    except ValueError:  # an integer of thousands of digits
        return "that"
    return text if len(text) <= 60 else f"{text[:57]}..."
