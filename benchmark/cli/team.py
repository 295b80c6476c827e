"""``faceveil team add | list | revoke``: who may submit."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, facts, out, table
from benchmark.cli.submit import StoreOption, open_store

app = typer.Typer(help="Teams that may submit, and their tokens.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The team's name, as its cards must state it.")]


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="team")


@app.command()
def add(name: Name, store: StoreOption = None, json: Json = False) -> None:
    """Creates a team and prints its token once; only a hash of it is kept."""
    token = open_store(store).teams.add(name)

    def show() -> None:
        out.print(token, markup=False, soft_wrap=True)
        typer.echo("Hand it to the team; it cannot be shown again.", err=True)

    emit({"team": name, "token": token}, json, show)


@app.command("list")
def list_(store: StoreOption = None, json: Json = False) -> None:
    """Lists every team and how often it has submitted."""
    teams = open_store(store).teams.all()
    rows = [[t.name, str(t.submissions), str(t.published), t.created[:10], (t.revoked or "")[:10]] for t in teams]
    columns = ["team", "submissions", "published", "since", "revoked"]
    emit([team.model_dump(mode="json") for team in teams], json, lambda: table("", columns, rows))


@app.command()
def revoke(name: Name, store: StoreOption = None, json: Json = False) -> None:
    """Revokes a team's token; its submissions stay."""
    team = open_store(store).teams.revoke(name).model_dump(mode="json")
    emit(team, json, lambda: facts(team))
