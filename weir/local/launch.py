"""Become another program that dies with its parent: `python launch.py PARENT_PID PROGRAM ARG...`.

Runs as a script of its own, on the standard library alone and without site packages. It sets
the death signal after the fork and before the exec, which a parent with threads cannot do
safely itself; the kernel then kills the program even if the parent gets SIGKILL.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_NOT_FOUND = 127


def main(arguments: list[str]) -> int:
    """Replace this process by the program; returns only if that fails."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was set
        return 1
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return _NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
