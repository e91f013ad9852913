"""`weir check FILE`: can this fleet work as it is written?

Exit code 0 when it can (warnings on stderr), 2 when it cannot (every error on stderr, with
its line). With `--json` one object goes to stdout instead, in both cases.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from weir.domain.fleet import Fleet, PoolSpec, RequestClass, TokenRange
from weir.fleet import Finding, Level, LoadedFleet, inspect
from weir.fleet.feasible import longest_prompt_in_time
from weir.text import table

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="Fleet document (YAML)")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the document first, such as spec.budget.gpus=6; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    loaded, findings = inspect(args.file, args.sets)
    if args.json:
        print(json.dumps(_as_json(args.file, loaded, findings), indent=2))
    else:
        for found in findings:
            label = "" if found.level is Level.ERROR else "warning: "
            print(f"weir check: {args.file}: {label}{found}", file=sys.stderr)
        if loaded is not None:
            print("\n".join(_report(loaded.fleet)))
    return 2 if loaded is None else 0


def _as_json(file: str, loaded: LoadedFleet | None, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "file": file,
        "ok": loaded is not None,
        "fleet": None if loaded is None else loaded.fleet.name,
        "findings": [
            {
                "level": str(found.level),
                "line": found.line,
                "place": found.place,
                "path": found.path,
                "message": found.message,
            }
            for found in findings
        ],
    }


def _report(fleet: Fleet) -> Iterator[str]:
    """What the fleet amounts to, for people."""
    least = sum(pool.floor_replicas * pool.gpus_per_replica for pool in fleet.pools)
    most = sum(pool.max_replicas * pool.gpus_per_replica for pool in fleet.pools)
    yield f"fleet {fleet.name} can be used"
    yield f"budget: {fleet.budget.gpus} GPUs; the pools' floors need {least}, their maxima {most}"
    if fleet.budget.power_w is not None:
        watts = [pool.gpus_per_replica * (pool.power_w_per_gpu or 0) for pool in fleet.pools]
        least_w = sum(p.floor_replicas * w for p, w in zip(fleet.pools, watts, strict=True))
        most_w = sum(p.max_replicas * w for p, w in zip(fleet.pools, watts, strict=True))
        yield f"power: {fleet.budget.power_w} W; their floors need {least_w}, their maxima {most_w}"
    for window in fleet.budget.windows:
        limits = [] if window.gpus is None else [f"{window.gpus} GPUs"]
        limits += [f"{gpus} {name} GPUs" for name, gpus in sorted(window.by_gpu_class.items())]
        limits += [] if window.power_w is None else [f"{window.power_w} W"]
        yield f"  {window.name}: {', '.join(limits) or 'the same'}"
    yield ""
    yield from _indented(
        table(
            ("pool", "role", "model", "replicas", "GPUs each", "context"), map(_pool, fleet.pools)
        )
    )
    yield ""
    yield from _indented(
        table(
            ("class", "ISL", "OSL", "TTFT", "ITL", "longest prompt in time"),
            (_class(fleet, item) for item in fleet.classes),
        )
    )


def _pool(pool: PoolSpec) -> tuple[str, ...]:
    return (
        pool.id,
        pool.role,
        pool.model,
        f"{pool.min_replicas}..{pool.max_replicas}",
        str(pool.gpus_per_replica),
        str(pool.context_limit_tokens),
    )


def _class(fleet: Fleet, item: RequestClass) -> tuple[str, ...]:
    return (
        item.name,
        _span(item.isl_tokens),
        _span(item.osl_tokens),
        f"{item.slo.ttft_s * 1e3:g} ms",
        f"{item.slo.itl_s * 1e3:g} ms",
        str(longest_prompt_in_time(fleet, item)),
    )


def _span(span: TokenRange) -> str:
    if span.high is None:
        return f"{span.low}.." if span.low else "any"
    return f"{span.low}..{span.high - 1}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
