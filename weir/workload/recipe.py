"""A workload in words, such as `poisson:rate=6,isl=700,osl=180,for=600`, or a trace file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from weir.domain.errors import WorkloadError
from weir.workload.cells import MAX_TOKENS
from weir.workload.columns import TraceColumns, read_columns
from weir.workload.draws import generator_of
from weir.workload.generators import MAX_CV, Burst, bursty
from weir.workload.lengths import Lengths, drawn_lengths, fixed_lengths, lognormal_lengths

__all__ = ["workload_of"]

_RECIPE = re.compile(r"(?P<kind>[a-z]+):(?P<rest>.*)", re.DOTALL)
_KEY = re.compile(r"[a-z_]+=")
_BURST = re.compile(r"(?P<factor>[^@+]+)@(?P<start>[^@+]+)\+(?P<length>[^@+]+)")
_BURST_PARTS = ("factor", "start", "length")
_KINDS: dict[str, tuple[str, ...]] = {
    "poisson": (),
    "bursty": ("cv",),
    "constant": ("noise",),
}
_NEEDED = ("rate", "for")
_LENGTHS = ("isl", "osl", "isl_cv", "osl_cv", "lengths")


def workload_of(
    spec: str | Path, *, seed: int = 0, tenant_column: str | None = None
) -> TraceColumns:
    """The requests of a trace file, or those that a recipe makes with this seed.

    A text that begins with a word, a colon and a key is a recipe (`./` before a file of such a
    name makes it a file). Raises `TraceError` for a file, `WorkloadError` for a recipe.
    """
    match = _RECIPE.fullmatch(str(spec))
    if match is None or not (match["kind"] in _KINDS or _KEY.match(match["rest"])):
        return read_columns(spec, tenant_column)
    return _Recipe(str(spec), match["kind"], match["rest"]).made(seed, tenant_column)


class _Recipe:
    """Raises `WorkloadError` wherever the text is wrong."""

    def __init__(self, text: str, kind: str, rest: str) -> None:
        self._text = text
        self._kind = kind
        self._values: dict[str, str] = {}
        self._bursts: list[str] = []
        if kind not in _KINDS:
            self._refuse(f"there is no generator {kind}, only {', '.join(_KINDS)}")
        for item in filter(None, rest.split(",")):
            self._take(item, (*_NEEDED, *_KINDS[kind], *_LENGTHS, "burst"))

    def made(self, seed: int, tenant_column: str | None) -> TraceColumns:
        bursts = [self._burst(text) for text in self._bursts]
        rate_rps = self._number("rate", above=0.0)
        duration_s = self._number("for", above=0.0)
        cv = self._cv()
        lengths = self._lengths(tenant_column)
        try:
            columns = bursty(
                rate_rps, duration_s, cv, lengths, generator_of(seed, "recipe"), bursts
            )
        except ValueError as error:
            self._refuse(str(error))
        if not len(columns):
            self._refuse("makes no request; raise rate or for")
        return columns

    def _take(self, item: str, known: Sequence[str]) -> None:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            self._refuse(f"{item!r} is not KEY=VALUE; keys are {', '.join(known)}")
        if key not in known:
            self._refuse(f"{self._kind} knows no {key!r}; keys are {', '.join(known)}")
        if key == "burst":
            self._bursts.append(value)
        elif key in self._values:
            self._refuse(f"{key} is given twice")
        else:
            self._values[key] = value

    def _cv(self) -> float:
        if self._kind == "poisson":
            return 1.0
        if self._kind == "bursty":
            return self._number("cv", above=0.0, most=MAX_CV)
        return self._number("noise", most=1.0, default=0.0)

    def _lengths(self, tenant_column: str | None) -> Lengths:
        if path := self._values.get("lengths"):
            if given := [key for key in _LENGTHS if key in self._values and key != "lengths"]:
                self._refuse(f"lengths={path} and {given[0]} cannot both be given")
            return drawn_lengths(read_columns(path, tenant_column))
        if tenant_column is not None:
            self._refuse(
                f"has no column {tenant_column!r} to take tenants from; draw requests from a "
                "trace that has it with lengths=FILE"
            )
        isl, osl = (self._number(key, least=1.0, most=MAX_TOKENS) for key in ("isl", "osl"))
        isl_cv, osl_cv = (
            self._number(key, most=MAX_CV, default=0.0) for key in ("isl_cv", "osl_cv")
        )
        if isl_cv == osl_cv == 0.0:
            return fixed_lengths(round(isl), round(osl))
        return lognormal_lengths(isl, osl, isl_cv=isl_cv, osl_cv=osl_cv)

    def _burst(self, text: str) -> Burst:
        match = _BURST.fullmatch(text)
        if match is None:
            self._refuse(f"burst={text} is not FACTOR@START+SECONDS, such as burst=5@300+120")
        return Burst(*(self._within(f"{key} of burst={text}", match[key]) for key in _BURST_PARTS))

    def _number(self, key: str, *, default: float | None = None, **limits: float) -> float:
        text = self._values.get(key)
        if text is not None:
            return self._within(key, text, **limits)
        if default is None:
            self._refuse(f"{key} must be given, as {key}=NUMBER")
        return default

    def _within(
        self, what: str, text: str, *, least: float = 0.0, above: float = -1.0, most: float = 1e8
    ) -> float:
        try:
            value = float(text)
        except ValueError:
            self._refuse(f"{what} must be a number, not {text!r}")
        if not (least <= value <= most and value > above):
            low = f"above {above:g}" if above >= least else f"at least {least:g}"
            self._refuse(f"{what} must be {low} and at most {most:g}, not {text}")
        return value

    def _refuse(self, problem: str) -> NoReturn:
        raise WorkloadError(self._text, problem)
