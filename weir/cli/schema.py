"""`weir schema`: the JSON schema of the Fleet document, for editors and other tools."""

import argparse
import json

from weir.fleet.shape import json_schema

__all__ = ["configure", "run", "text"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "In an editor with a YAML language server: # yaml-language-server: $schema=FILE"


def run(args: argparse.Namespace) -> int:
    print(text(), end="")
    return 0


def text() -> str:
    """The schema as it is printed and committed."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
