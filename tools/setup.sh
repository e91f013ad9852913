#!/bin/sh
# Set up .venv from requirements/KIND.lock (run, test or dev), then weir itself, editable.
# usage: [PYTHON=python3.12] tools/setup.sh KIND
#
# Does nothing when nothing changed: a stamp in .venv holds the checksum of what was installed
# and where. dev.lock holds all of test.lock, and that all of run.lock. Everything it prints goes
# to stderr: stdout belongs to the program that make runs next.
set -eu
exec >&2
cd "$(dirname "$0")/.."
kind=$1
python=${PYTHON:-python3}

say() { printf 'weir: %s\n' "$*"; }

sum_of() { { pwd -P; cat pyproject.toml "requirements/$1.lock"; } | cksum; }

venv_works() { # made in this folder, by a Python that is still there
    grep -qF "$(pwd -P)/.venv" .venv/pyvenv.cfg && .venv/bin/python -c 'import pip'
} 2>/dev/null

is_current() {
    venv_works && [ -x .venv/bin/weir ] && [ "$(cat ".venv/weir-$kind.stamp")" = "$(sum_of "$kind")" ]
} 2>/dev/null

check_python() {
    if ! command -v "$python" >/dev/null; then
        say "$python not found; weir needs Python 3.11 or newer (another one: make PYTHON=python3.12 ...)"
        exit 1
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        say "$python is Python $version; weir needs 3.11 or newer (another one: make PYTHON=python3.12 ...)"
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$python lacks its venv module; on Debian and Ubuntu: apt install python$version-venv"
        exit 1
    fi
}

pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@"; }

if is_current; then exit 0; fi

if ! venv_works; then
    check_python
    say "making .venv with Python $version"
    "$python" -m venv --clear .venv || { rm -rf .venv; exit 1; }
fi
packages=$(grep -c == "requirements/$kind.lock")
say "installing what requirements/$kind.lock pins ($packages packages) into .venv"
pip install --require-hashes -r "requirements/$kind.lock"
pip install --no-deps --no-build-isolation --editable .
case $kind in
    dev) covered="dev test run" ;;
    test) covered="test run" ;;
    *) covered=$kind ;;
esac
for each in $covered; do sum_of "$each" >".venv/weir-$each.stamp"; done
