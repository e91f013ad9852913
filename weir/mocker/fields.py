"""Typed reads from a JSON object; what does not fit is told with its name and what it may be."""

from typing import Any

import orjson

from weir.domain.errors import RequestError

__all__ = ["Fields"]


class Fields:
    """One JSON object. A field that is null counts as missing; unknown ones are left alone.

    All readers raise `RequestError` for a value of the wrong type or out of range.
    """

    __slots__ = ("_data", "_path")

    def __init__(self, data: dict[str, Any], path: str = "") -> None:
        self._data = data
        self._path = path

    @classmethod
    def parse(cls, body: bytes) -> "Fields":
        """The body of a request. Raises `RequestError` unless it is a JSON object."""
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise RequestError(f"the request body is not valid JSON: {error}") from None
        if not isinstance(data, dict):
            raise RequestError("the request body must be a JSON object")
        return cls(data)

    def raw(self, name: str) -> Any:
        return self._data.get(name)

    def has(self, name: str) -> bool:
        return self._data.get(name) is not None

    def wrong(self, name: str, expected: str) -> RequestError:
        """The error for a field that is not as expected."""
        path = self._path + name
        found = "it is missing" if not self.has(name) else f"not {_kind(self._data[name])}"
        return RequestError(f"{path} must be {expected}, {found}", param=path)

    def integer(self, name: str, low: int | None = None) -> int | None:
        value = self._data.get(name)
        if value is None:
            return None
        expected = "an integer" if low is None else f"an integer of at least {low}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, expected)
        if low is not None and value < low:
            raise self._out_of_range(name, expected, value)
        return value

    def number(self, name: str, low: float, high: float | None = None) -> float | None:
        value = self._data.get(name)
        if value is None:
            return None
        expected = f"a number from {low:g} to {high:g}" if high is not None else f">= {low:g}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(name, "a number")
        if not low <= value <= (value if high is None else high):
            raise self._out_of_range(name, expected, value)
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._data.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def text(self, name: str) -> str | None:
        value = self._data.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def object(self, name: str) -> "Fields | None":
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, f"{self._path}{name}.")

    def _out_of_range(self, name: str, expected: str, value: float) -> RequestError:
        path = self._path + name
        return RequestError(f"{path} must be {expected}, not {value}", param=path)


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words; never the value itself, which may be a prompt."""
    kinds: list[tuple[type, str]] = [
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a number"),
        (str, "a string"),
        (list, "an array"),
    ]
    return next((name for kind, name in kinds if isinstance(value, kind)), "an object")
