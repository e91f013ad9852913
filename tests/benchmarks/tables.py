"""What benchmarks that simulate have in common: runs side by side, figures as JSON or a table."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks.results import written

__all__ = ["arguments", "measured", "show"]

_T = TypeVar("_T")


def arguments(description: str | None, *, quick: str) -> argparse.Namespace:
    """Of the command line: `json`, `quick`, which does what it says, and `write`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into FILE")
    return parser.parse_args()


def measured(calls: Iterable[partial[_T]]) -> list[_T]:
    """What each call returns, in their order; each is told on stderr as it comes."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(call) for call in calls]
        figures: list[_T] = []
        for run in runs:
            figures.append(run.result())
            print(f"{len(figures)} of {len(runs)}: {figures[-1]}", file=sys.stderr)
    return figures


def show(
    args: argparse.Namespace,
    part: str,
    figures: Sequence[Any],
    table: Callable[[Sequence[Any]], Iterable[str]],
) -> None:
    """Print the figures, and put their table between the markers of this part."""
    lines = "\n".join(table(figures)).strip()
    print(json.dumps([asdict(each) for each in figures]) if args.json else lines)
    if args.write is not None:
        args.write.write_text(written(args.write.read_text(), part, lines))
