"""`--set path=value`: change a document before it is validated.

A path is keys joined by dots; an item of a list is named by its `name` or its position; what
contains a dot goes in brackets (`spec.models[gpt-4.1].aliases`). `spec.` may be left out.
The path must name something that the document has or may have; the value is YAML.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

from weir.fleet.finding import Finding, problem
from weir.fleet.shape import is_open, known_keys, suggestion
from weir.fleet.tree import Path, Tree, TreeError, parse_value

__all__ = ["apply"]

_STEP = re.compile(r"\.?(?:\[(?P<bracket>[^\]]+)\]|(?P<plain>[^.\[\]=]+))")
_ROOT_KEYS = ("apiVersion", "kind", "metadata", "spec")


class _PathError(Exception):
    """The path of one override names nothing."""


def apply(tree: Tree, sets: Sequence[str]) -> tuple[Tree, list[Finding]]:
    """`tree` with every override that works, and a finding for each that does not."""
    data, places = copy.deepcopy(tree.data), dict(tree.places)
    problems: list[Finding] = []
    for text in sets:
        try:
            path = _place(data, text, value=_value(text))
        except (_PathError, TreeError) as error:
            problems.append(problem(f"--set {_short(text)}", str(error)))
            continue
        places = {known: place for known, place in places.items() if known[: len(path)] != path}
        places[path] = f"--set {_short(text)}"
    return Tree(data, places), problems


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _value(text: str) -> Any:
    if "=" not in text:
        raise _PathError("must be path=value, such as spec.budget.gpus=8")
    return parse_value(text.partition("=")[2])


def _steps(text: str) -> list[str]:
    path, steps, position = text.partition("=")[0].strip(), [], 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise _PathError("the path must be keys joined by dots, such as spec.budget.gpus")
        steps.append(match["bracket"] or match["plain"])
        position = match.end()
    if not steps:
        raise _PathError("the path is empty")
    return steps if steps[0] in _ROOT_KEYS else ["spec", *steps]


def _place(data: Any, text: str, *, value: Any) -> Path:
    """Put `value` where `text` says and return that path."""
    path: Path = ()
    container, steps = data, _steps(text)
    for index, word in enumerate(steps):
        step = _find(container, path, word)
        path = (*path, step)
        if index == len(steps) - 1:
            container[step] = value
        else:
            if isinstance(container, dict) and container.get(str(step)) is None:
                container[step] = {}
            container = container[step]
    return path


def _find(container: Any, path: Path, word: str) -> str | int:
    """The key or position that `word` names in `container`."""
    where = ".".join(str(step) for step in path) or "the document"
    if isinstance(container, dict):
        known = container if is_open(path) else known_keys(path)
        if word not in container and word not in known:
            raise _PathError(f"{where} has no {word!r}{suggestion(word, map(str, known))}")
        return word
    if not isinstance(container, list):
        raise _PathError(f"{where} is a single value, so it has no {word!r}")
    names = [item.get("name") if isinstance(item, dict) else None for item in container]
    if word in names:
        return names.index(word)
    if word.isdecimal() and len(word) < 10 and int(word) < len(container):
        return int(word)
    raise _PathError(
        f"{where} has no item {word!r}{suggestion(word, (n for n in names if isinstance(n, str)))}"
    )
