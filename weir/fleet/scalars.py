"""Plain YAML scalars by the rules of YAML 1.2: 010 is ten, yes is text, 1e6 is a number."""

import math
from collections.abc import Callable
from typing import Any

__all__ = ["PLAIN", "scalar"]

PLAIN = {
    "tag:yaml.org,2002:null": r"~|null|Null|NULL|",
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
    "tag:yaml.org,2002:int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
"""What a scalar without quotes looks like to be of a tag; tried in this order, else text."""


def scalar(kind: str, text: str) -> Any:
    """The value of `text`; `kind` is the last part of its tag.

    Raises `KeyError` if there is no such kind, `ValueError` if the text is not one.
    """
    return _BY_KIND[kind](text)


def _boolean(text: str) -> bool:
    lower = text.lower()
    if lower not in ("true", "false"):
        raise ValueError(text)
    return lower == "true"


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    base = {"0o": 8, "0x": 16}.get(digits[:2].lower(), 10)
    return int(text, base)


def _float(text: str) -> float:
    lower = text.lower()
    return math.nan if lower.endswith(".nan") else float(lower.replace(".inf", "inf"))


_BY_KIND: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "str": str,
}
