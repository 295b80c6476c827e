"""Where the command begins: signals are heard before anything is imported, and errors are messages with an exit code.

Exit codes: 0 done, 1 refused, failed or interrupted, with a message, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from benchmark.runtime.interrupts import INTERRUPTED, TERMINATED, ending_soon, leave, raise_again

_CTRL_C = 130  # what typer turns Ctrl-C into


def main() -> None:
    """Console entry point."""
    try:
        with ending_soon():
            _until_interrupted()
    except KeyboardInterrupt:  # while the handlers were set, or taken away
        _interrupted()
    except MemoryError:  # not even its message could be made
        print("error: there is not enough memory.", file=sys.stderr)
        sys.exit(1)


def _until_interrupted() -> None:
    try:
        _run()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code not in (_CTRL_C, TERMINATED):
            raise
        _interrupted()


def _run() -> None:
    from benchmark.cli.faults import close_quietly, expand_tildes, print_everything, told, unwritable
    from benchmark.cli.output import fail
    from benchmark.interfaces import FaceVeilError

    try:
        from benchmark.cli.app import app

        sys.argv[1:] = expand_tildes(sys.argv[1:])
        print_everything((sys.stdout, sys.stderr))
        app()
        sys.stdout.flush()
    except FaceVeilError as error:
        raise_again()
        fail(str(error))
    except BrokenPipeError:
        close_quietly()
        sys.exit(1)
    except Exception as error:
        raise_again()
        message = unwritable(sys.stdout, error)
        if message is not None:
            close_quietly()
        else:
            message = told(error)
        if message is None:
            raise
        fail(message)


def _interrupted() -> NoReturn:
    print(INTERRUPTED, file=sys.stderr)
    leave(1)
