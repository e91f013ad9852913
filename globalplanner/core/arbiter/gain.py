"""What more GPUs would add, and how an answer about them reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from globalplanner.core.arbiter.served import rps
from weir.domain.ids import ClassName

__all__ = ["Gain", "asked_line", "exceeded_lines", "gain_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What so many more GPUs of one class would add: `value`, and requests/s within SLO.

    Of a class these may be fewer, where others are worth more. Nothing: nobody would use them.
    """

    gpu_class: str
    gpus: int
    value: float = 0.0
    added_rps: Mapping[ClassName, float] = field(default_factory=dict)

    @property
    def total_rps(self) -> float:
        return sum(self.added_rps.values())


def asked_line(more: Mapping[str, int], load_factor: float) -> str:
    """What is asked about: other GPUs, another load, or neither."""
    asked = ", ".join(
        f"{abs(n)} {'more' if n > 0 else 'fewer'} {name}" for name, n in sorted(more.items()) if n
    )
    load = "" if load_factor == 1.0 else f"{load_factor:g} times the load"
    return " and ".join(part for part in (asked, load) if part) or "as things are"


def exceeded_lines(exceeded: Mapping[str, int]) -> Iterator[str]:
    """`exceeded`: by limit, GPUs that pools have in any case beyond it."""
    for name, gpus in sorted(exceeded.items()):
        yield (
            f"{name}: floors and pools that do not change need {gpus} more GPUs than it"
            " would hold; they are reckoned with all the same"
        )


def gain_lines(gains: Sequence[Gain], gpu_classes: Iterable[str]) -> Iterator[str]:
    """Of every class of GPU, also of those whose gain is not known."""
    yield from map(_gain_line, gains)
    told = {gain.gpu_class for gain in gains}
    for gpu_class in gpu_classes:
        if gpu_class not in told:
            yield f"what more {gpu_class} would add was not found in time"


def _gain_line(gain: Gain) -> str:
    if not gain.added_rps:
        return f"more {gain.gpu_class} would add nothing"
    count = "one" if gain.gpus == 1 else f"{gain.gpus}"
    told = f"{count} more {gain.gpu_class} would add"
    more = [(name, rate) for name, rate in sorted(gain.added_rps.items()) if rate > 0.0]
    fewer = [(name, -rate) for name, rate in sorted(gain.added_rps.items()) if rate < 0.0]
    if not fewer:
        return f"{told} {rps(gain.total_rps)} rps within SLO ({_parts(more)})"
    return f"{told} {_parts(more)} rps within SLO and take {_parts(fewer)}, which is worth less"


def _parts(rates: Iterable[tuple[ClassName, float]]) -> str:
    return ", ".join(f"{name} {rps(rate)}" for name, rate in rates)
