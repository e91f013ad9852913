"""YAML text -> plain data, with the place of every value.

Scalars follow YAML 1.2: only true/false are booleans, 010 is ten, 1e6 is a number. Aliases
and `<<` merges work, within limits that keep a small file from becoming a large one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from weir.fleet.scalars import PLAIN, scalar

__all__ = ["Path", "Tree", "TreeError", "parse", "parse_value"]

Path = tuple[str | int, ...]
"""Keys and list positions from the root."""

_MAX_VALUES = 20_000
_MAX_DEPTH = 40
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class TreeError(Exception):
    """The text is not the YAML we take; `problems` lists why, as (line or "", message)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Tree:
    """Plain data and, by path, where each value was written ("line 7", "--set a=b")."""

    data: Any
    places: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """Where `path`, or else the nearest value around it, was written."""
        for end in range(len(path), -1, -1):
            if found := self.places.get(path[:end]):
                return found
        return "line 1"

    def get(self, path: Path) -> Any:
        """The value at `path`, None if there is none."""
        value = self.data
        for step in path:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
                value = value[step]
            else:
                return None
        return value

    def show(self, path: Path) -> str:
        """The path as people write it, list items by name where they have one."""
        text = ""
        for end, step in enumerate(path):
            if isinstance(step, int):
                item = self.get(path[: end + 1])
                name = item.get("name") if isinstance(item, dict) else None
                step = name if isinstance(name, str) and name else step
            part = str(step)
            plain = re.fullmatch(r"[-\w]+", part)
            text += (f".{part}" if text else part) if plain else f"[{part}]"
        return text


class _Loader(yaml.SafeLoader):
    """Composes nodes, but not more of them than a document may have values."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        None: [(tag, re.compile(rf"^(?:{pattern})$")) for tag, pattern in PLAIN.items()]
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > 2 * _MAX_VALUES:  # a mapping has two nodes for each value
            raise TreeError((f"line {self.line + 1}", f"more than {_MAX_VALUES} values"))
        return super().compose_node(parent, index)


def parse(text: str) -> Tree:
    """Parse one YAML document. Raises `TreeError`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.problem, error.context) if part)
        raise TreeError((f"line {mark.line + 1 if mark else 1}", f"not YAML: {what}")) from None
    except yaml.YAMLError as error:
        raise TreeError((_reader_line(text, error), f"not YAML: {_reason(error)}")) from None
    except RecursionError:
        raise TreeError(("", "nested too deeply")) from None
    if root is None:
        raise TreeError(("line 1", "the document is empty"))
    builder = _Builder()
    data = builder.build(root, (), 0)
    if builder.problems:
        raise TreeError(*builder.problems)
    return Tree(data, builder.places)


def parse_value(text: str) -> Any:
    """Parse one value as written after `--set path=`; empty is null. Raises `TreeError`."""
    return parse(text).data if text.strip() else None


def _reader_line(text: str, error: yaml.YAMLError) -> str:
    position = getattr(error, "position", None)
    return f"line {text.count(chr(10), 0, position) + 1}" if isinstance(position, int) else ""


def _reason(error: yaml.YAMLError) -> str:
    character = getattr(error, "character", None)
    if character is None:
        return str(error)
    code = character if isinstance(character, int) else ord(str(character)[:1] or "\0")
    return f"character #x{code:04x} is not allowed (is this a text file?)"


class _Builder:
    """Turns nodes into data, noting places and problems, and stops when it gets too large."""

    def __init__(self) -> None:
        self.places: dict[Path, str] = {}
        self.problems: list[tuple[str, str]] = []
        self._values = 0

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        line = f"line {node.start_mark.line + 1}"
        self.places.setdefault(path, line)
        self._values += 1
        if self._values > _MAX_VALUES:
            raise TreeError((line, f"more than {_MAX_VALUES} values (aliases counted)"))
        if depth > _MAX_DEPTH:
            raise TreeError((line, f"nested more than {_MAX_DEPTH} deep (an alias of itself?)"))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            self.problems.append((line, f"tag {node.tag!r} is not allowed"))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in self._pairs(node, depth):
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((f"line {line}", "a key must be plain text"))
                continue
            key = str(key_node.value)
            if key in lines:
                self.problems.append(
                    (f"line {line}", f"key {key!r} is already set on line {lines[key]}")
                )
                continue
            lines[key] = line
            self.places[(*path, key)] = f"line {line}"
            data[key] = self.build(value_node, (*path, key), depth + 1)
        return self._merged(node, data, path, depth)

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        return ((key, value) for key, value in node.value if not _is_merge(key))

    def _merged(
        self, node: yaml.MappingNode, data: dict[str, Any], path: Path, depth: int
    ) -> dict[str, Any]:
        """`data` with what `<<` brings in; its own keys win, then the earlier of the merged."""
        for key_node, value_node in node.value:
            if not _is_merge(key_node):
                continue
            sources = (
                value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            )
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    line = key_node.start_mark.line + 1
                    self.problems.append((f"line {line}", "<< takes a mapping or a list of them"))
                    continue
                places, self.places = self.places, {}
                merged = self.build(source, path, depth + 1)
                added, self.places = self.places, places
                fresh = {key: value for key, value in merged.items() if key not in data}
                data.update(fresh)
                for place, line_text in added.items():
                    if len(place) > len(path) and place[len(path)] in fresh:
                        self.places.setdefault(place, line_text)
        return data

    def _scalar(self, node: yaml.Node, line: str) -> Any:
        text, kind = str(node.value), node.tag.removeprefix("tag:yaml.org,2002:")
        try:
            return scalar(kind, text)
        except KeyError:
            self.problems.append((line, f"tag {node.tag!r} is not allowed"))
        except ValueError:
            self.problems.append((line, f"{text[:40]!r} is not a usable {kind}"))
        return None


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None
