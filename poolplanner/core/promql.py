"""What is asked of a Prometheus that scrapes Dynamo, and what its answers are."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from poolplanner.core.buckets import MOST

__all__ = [
    "CACHED",
    "ENDED",
    "HIT_RATE",
    "IN_FLIGHT",
    "ISL",
    "ITL",
    "OSL",
    "STARTED",
    "TTFT",
    "DynamoMetrics",
    "Series",
    "query",
    "query_of_engines",
    "series_of",
]

STARTED, ENDED = "requests_started_total", "requests_total"
TTFT, ITL = "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_bucket"
ISL, OSL = "input_sequence_tokens", "output_sequence_tokens"
IN_FLIGHT = "inflight_requests"
HIT_RATE, CACHED = "kv_hit_rate", "cached_tokens"
"""What routers expect of the prefix caches, and what frontends are told of them."""
_NAMES = (
    STARTED,
    ENDED,
    TTFT,
    ITL,
    *(f"{name}_{part}" for name in (ISL, OSL) for part in ("sum", "count", "bucket")),
    *(f"{name}_{part}" for name in (HIT_RATE, CACHED) for part in ("sum", "count")),
    IN_FLIGHT,
)
_MOST_SERIES = 200_000


class DynamoMetrics(StrEnum):
    """Whose counts: all requests of a model, or those that one pool's router was given."""

    FRONTEND = "frontend"
    ROUTER = "router"

    @property
    def prefix(self) -> str:
        return {
            DynamoMetrics.FRONTEND: "dynamo_frontend_",
            DynamoMetrics.ROUTER: "dynamo_component_router_",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One time series: `points` are (unix seconds, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def query(metrics: DynamoMetrics, *, namespace: str, models: Sequence[str], range_s: float) -> str:
    """PromQL for everything that is read, as scraped in the last `range_s` seconds.

    The namespace is compared as it is written in the source's labels, models without regard to
    upper and lower case.
    """
    names = "|".join(_NAMES)
    selectors = [f'__name__=~"{metrics.prefix}({names})"']
    if metrics is DynamoMetrics.ROUTER:
        selectors.append(f"dynamo_namespace={_quoted(namespace.replace('-', '_'))}")
    else:
        selectors.append(f"dynamo_namespace={_quoted(namespace)}")
        selectors.append(f"model=~{_any_case(models)}")
    return _range(selectors, range_s)


def query_of_engines(names: Sequence[str], *, models: Sequence[str], range_s: float) -> str:
    """PromQL for these metrics of the engines of a model, wherever they run."""
    selectors = [f"__name__=~{_quoted('|'.join(names))}", f"model_name=~{_any_case(models)}"]
    return _range(selectors, range_s)


def series_of(answer: object) -> list[Series]:
    """The series of an answer of Prometheus's query API.

    Raises `ValueError` if it is an error or not such an answer. Points that are no numbers
    which can be counted with are left out.
    """
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")
    if answer.get("status") != "success":
        raise ValueError(f"{answer.get('errorType')}: {answer.get('error')}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list) or len(result) > _MOST_SERIES:
        raise ValueError("the answer holds no list of series, or too many")
    try:
        return [_series(each["metric"], each["values"]) for each in result]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the answer holds something else than series: {error!r}") from None


def _series(metric: Mapping[str, str], values: Sequence[Sequence[object]]) -> Series:
    labels = {str(key): str(value) for key, value in metric.items()}
    points = [(float(str(at_s)), float(str(value))) for at_s, value in values]
    sound = (point for point in points if all(abs(number) <= MOST for number in point))
    return Series(labels=labels, points=tuple(sorted(sound)))


def _range(selectors: Sequence[str], range_s: float) -> str:
    return f"{{{','.join(selectors)}}}[{max(1, math.ceil(range_s))}s]"


def _any_case(models: Sequence[str]) -> str:
    either = "|".join(re.escape(model) for model in models)
    return _quoted(f"(?i:{either})")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
