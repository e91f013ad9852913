#!/bin/sh
# Get aiperf, which tests/benchmarks/bench_aiperf.py lets loose on weir, into an environment of
# its own, .peers/aiperf: it wants other versions of what weir stands on.
set -eu
exec >&2
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
aiperf=aiperf==0.13.0

if ! .peers/aiperf/bin/python -c 'import aiperf, tokenizers' 2>/dev/null; then
    "$python" -m venv --clear .peers/aiperf
    .peers/aiperf/bin/python -m pip --quiet --disable-pip-version-check install "$aiperf"
fi
