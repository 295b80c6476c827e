"""``faceveil round new | list | reveal | add | check``: the evaluator's secret for data and split of the synthetic tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, facts, table
from benchmark.cli.submit import StoreOption, open_store
from benchmark.interfaces import FaceVeilError

app = typer.Typer(
    help="Rounds of synthetic tracks: held-out people and unseen photos follow from a secret that is revealed at the end.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="round")


@app.command()
def new(store: StoreOption = None, json: Json = False) -> None:
    """Begins a round: makes a secret, keeps it in the home and publishes its sha256 in the store."""
    from benchmark.runtime.rounds import SHORT, new_round

    opened = open_store(store)
    published = opened.rounds.publish(new_round().name)
    report = published.model_dump(mode="json") | {"track_suffix": f"@{published.secret_sha256[:SHORT]}"}
    emit(report, json, lambda: facts(report))


@app.command("list")
def list_(store: StoreOption = None, json: Json = False) -> None:
    """Shows the rounds that were published, whose secrets are here, and the secrets that were revealed."""
    from benchmark.runtime.rounds import known_rounds

    here = set(known_rounds())
    rows = [r.model_dump(mode="json") | {"here": r.secret_sha256 in here} for r in open_store(store).rounds.all()]
    cells = [
        [r["secret_sha256"], r["opened"][:10], (r["revealed"] or "")[:10], "yes" if r["here"] else "no", r["secret"] or ""]
        for r in rows
    ]
    emit(rows, json, lambda: table("", ["round (sha256)", "opened", "revealed", "secret is here", "secret"], cells))


@app.command()
def reveal(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="The round's sha256, or its first digits.")],
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Ends a round: publishes its secret, so that everybody can draw its photos and repeat its evaluations."""
    from benchmark.runtime.rounds import find_round

    report = open_store(store).rounds.reveal(find_round(name).secret).model_dump(mode="json")
    emit(report, json, lambda: facts(report))


@app.command()
def add(secret: Annotated[str, typer.Argument(help="A secret that was revealed.")], json: Json = False) -> None:
    """Keeps a revealed secret, so that TRACK@ROUND can be trained and evaluated here."""
    from benchmark.runtime.rounds import SHORT, add_round

    added = add_round(secret)
    report = {"secret_sha256": added.name, "track_suffix": f"@{added.name[:SHORT]}"}
    emit(report, json, lambda: facts(report))


@app.command()
def check(
    record: Annotated[Path, typer.Argument(help="A record as JSON, such as the API gives it.")], json: Json = False
) -> None:
    """Checks that a record was made with the photos of its round, whose secret is here."""
    from benchmark.data.populations import open_populations
    from benchmark.protocol.tracks import get_track
    from benchmark.records.reading import read_record
    from benchmark.runtime.rounds import find_round

    found = read_record(record)
    stated = found.extra.get("round")
    if not isinstance(stated, dict) or not isinstance(stated.get("secret_sha256"), str):
        raise FaceVeilError(f"{record} was made in no round: its photos follow from the track's public seeds.")
    held = find_round(stated["secret_sha256"])
    made = open_populations(get_track(f"{found.track.partition('@')[0]}@{held.name}"))
    given = (found.provenance.data_digest, found.provenance.split_digest)
    if given != (made.data_digest, made.split_digest):
        raise FaceVeilError(f"{record} was not made with the photos of round {held.name[:12]}: its digests are others.")
    report = {"record": str(record), "secret_sha256": held.name, "data_digest": given[0], "split_digest": given[1]}
    emit(report, json, lambda: facts(report))
