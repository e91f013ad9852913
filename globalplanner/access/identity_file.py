"""The file that says who may call, looked at again and again.

Errors name line and field, never a value: somebody may have written a token there.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from globalplanner.access.identity import Entry, Identities, Identity
from weir.domain.errors import CredentialsError
from weir.domain.ids import PoolId
from weir.fleet.settings import StrictModel
from weir.fleet.tree import Tree, TreeError, parse
from weir.runtime.lifecycle import Stop
from weir.runtime.watched import signature

__all__ = ["IdentityFile", "read_identities"]

_log = logging.getLogger("weir.globalplanner")
_LOOK_S = 1.0
_MAX_BYTES = 1 << 20
_Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class _IdentitySpec(StrictModel):
    name: _Name
    token_sha256: _Digest | None = None
    subject: _Name | None = None
    pools: list[_Name] | Literal["*"] = Field(default_factory=list)
    operator: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _is_proven_by_one_thing(self) -> "_IdentitySpec":
        if (self.token_sha256 is None) == (self.subject is None):
            raise ValueError("needs either token_sha256 or subject")
        return self


_DOCUMENT = TypeAdapter(list[_IdentitySpec])


class IdentityFile:
    """Identities as they stand in a file; those there were if it has become unusable.

    Raises `CredentialsError` if it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = signature(path)
        self.identities = read_identities(path)

    def of(self, token: str | None, subjects: Sequence[str]) -> Identity | None:
        return self.identities.of(token, subjects)

    def look(self) -> None:
        """Take the file over if it has changed and can be used."""
        now = signature(self._path)
        if now == self._seen:
            return
        self._seen = now
        try:
            self.identities = read_identities(self._path)
        except CredentialsError as error:
            _log.error("identities stay as they were: %s", error)
        except Exception:
            _log.exception("identities stay as they were")
        else:
            _log.info("identities read anew from %s", self._path)

    async def run(self, stop: Stop) -> None:
        """Look every second until `stop`."""
        while not await stop.sleep(_LOOK_S):
            self.look()


def read_identities(path: Path) -> Identities:
    """Raises `CredentialsError` naming everything that is wrong with the file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise CredentialsError(f"{path}: is larger than {_MAX_BYTES} bytes")
    try:
        tree = parse(data.decode())
        specs = _DOCUMENT.validate_python(tree.data)
    except UnicodeDecodeError:
        raise CredentialsError(f"{path}: is not UTF-8 text") from None
    except TreeError as error:
        problems = [": ".join(filter(None, each)) for each in error.problems]
        raise _unusable(path, problems) from None
    except ValidationError as error:
        raise _unusable(path, _findings(tree, error)) from None
    if not specs:
        raise _unusable(path, ["names nobody, so nobody could call"])
    if twice := list(_twice(specs)):
        raise _unusable(path, twice)
    return Identities([_entry(spec) for spec in specs])


def _entry(spec: _IdentitySpec) -> Entry:
    pools = None if spec.pools == "*" else frozenset(PoolId(name) for name in spec.pools)
    digest = bytes.fromhex(spec.token_sha256) if spec.token_sha256 is not None else None
    return Entry(
        identity=Identity(name=spec.name, pools=pools, operator=spec.operator),
        token_sha256=digest,
        subject=spec.subject,
    )


def _twice(specs: Sequence[_IdentitySpec]) -> Iterator[str]:
    """What would leave open who calls."""
    names = Counter(spec.name for spec in specs)
    yield from (f"two identities have the name {name!r}" for name, n in names.items() if n > 1)
    subjects = Counter(spec.subject for spec in specs if spec.subject is not None)
    yield from (
        f"two identities have the subject {name!r}" for name, n in subjects.items() if n > 1
    )
    digests: dict[str, str] = {}
    for spec in specs:
        if spec.token_sha256 is not None:
            first = digests.setdefault(spec.token_sha256.lower(), spec.name)
            if first != spec.name:
                yield f"{first!r} and {spec.name!r} have the same token"


def _findings(tree: Tree, error: ValidationError) -> list[str]:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return list(dict.fromkeys(_finding(tree, each["loc"], each["msg"]) for each in details))


def _finding(tree: Tree, loc: tuple[int | str, ...], message: Any) -> str:
    where = tuple(step for step in loc if isinstance(step, int) or step.isidentifier())
    name = ".".join(str(step) for step in where) or "the document"
    return f"{tree.place(where)}: {name}: {message}"


def _unusable(path: Path, problems: Sequence[str]) -> CredentialsError:
    return CredentialsError("\n".join(f"{path}: {problem}" for problem in problems))
