"""The root of the command line: global options, and errors reported as messages with an exit code.

Exit codes: 0 done, 1 refused or failed with a message, 2 wrong usage.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import (
    attribute,
    audit,
    audit_model,
    bench,
    card,
    data,
    evaluate,
    generator,
    head_memory,
    import_weights,
    invert,
    leaderboard,
    listing,
    paper,
    quickstart,
    rank,
    round,
    store,
    submit,
    sweep,
    team,
    train,
    unlearn,
    was_i_in_it,
    worker,
)
from benchmark.cli.faults import TERMINATED, close_quietly, end_by_exception, expand_tildes, print_everything, told
from benchmark.cli.groups import arrange
from benchmark.cli.output import fail
from benchmark.interfaces import FaceVeilError

INTERRUPTED = 130  # what typer turns Ctrl-C into

app = typer.Typer(
    name="faceveil",
    help="Measures what a face-recognition backbone leaks about the faces it was trained on, and what a defence costs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("faceveil"))
        raise typer.Exit


@app.callback()
def root(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin",
            help="A Python file of your own attacks, defences, tracks, backbones. Its code runs, so pass only files you trust.",
        ),
    ] = None,
    _show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Headless-first privacy benchmark for face recognition."""
    if plugin:
        from benchmark.protocol.registry import load_plugin_file

        for path in plugin:
            load_plugin_file(path)


GROUPS = (
    quickstart,
    listing,
    paper,
    data,
    generator,
    train,
    import_weights,
    evaluate,
    rank,
    sweep,
    audit,
    audit_model,
    was_i_in_it,
    attribute,
    unlearn,
    head_memory,
    invert,
    bench,
    card,
    submit,
    team,
    worker,
    round,
    store,
    leaderboard,
)
for module in GROUPS:
    module.register(app)
arrange(app)


def main() -> None:
    """Console entry point."""
    sys.argv[1:] = expand_tildes(sys.argv[1:])
    print_everything((sys.stdout, sys.stderr))
    end_by_exception()
    try:
        app()
        sys.stdout.flush()
    except FaceVeilError as error:
        fail(str(error))
    except BrokenPipeError:
        close_quietly()
        sys.exit(1)
    except SystemExit as end:
        if end.code not in (INTERRUPTED, TERMINATED):
            raise
        print("interrupted; run the same command again to resume.", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        message = told(error)
        if message is None:
            raise
        fail(message)
