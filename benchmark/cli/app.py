"""The root of the command line: global options and all commands."""

from __future__ import annotations

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
from benchmark.cli.groups import arrange

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
