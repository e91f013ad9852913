#!/bin/sh
# Get what tests/benchmarks/bench_dataplane.py measures weir against into .peers/: sglang_router
# into an environment of its own, and nginx out of Debian's package, not installed.
set -eu
exec >&2
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
sglang_router=sglang-router==0.3.2

mkdir -p .peers/nginx
if ! .peers/venv/bin/python -c 'import sglang_router' 2>/dev/null; then
    "$python" -m venv --clear .peers/venv
    .peers/venv/bin/python -m pip --quiet --disable-pip-version-check install "$sglang_router"
fi
if ! command -v nginx /usr/sbin/nginx .peers/nginx/usr/sbin/nginx >/dev/null; then
    (cd .peers && apt-get -o APT::Sandbox::User=root download nginx) \
        || { echo 'no nginx and no Debian: install nginx, so that it is on the PATH'; exit 1; }
    dpkg -x .peers/nginx_*.deb .peers/nginx
fi
