#!/bin/sh
# Resolve requirements/{dev,test,run}.lock: one universal resolution with hashes, no index named.
# usage: tools/lock.sh [--upgrade | --upgrade-package NAME]
set -eu
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        pyproject.toml --group build "$@"
}

compile --extra dev --output-file requirements/dev.lock "$@"
compile --extra test --constraints requirements/dev.lock --output-file requirements/test.lock
compile --extra report --constraints requirements/dev.lock --output-file requirements/run.lock
