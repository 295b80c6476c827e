"""``faceveil pack`` and ``faceveil card``: a submission from weights of your own, and the fields of its card."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.output import Json, emit, facts, out, settings
from benchmark.cli.train import describe, refuse_overwriting
from benchmark.interfaces import BackboneSpec, FaceVeilError

card_app = typer.Typer(help="The fields of card.json, and its JSON schema.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("pack")(pack)
    app.add_typer(card_app, name="card")


def pack(
    weights: Annotated[Path, typer.Argument(help="The backbone's state_dict(): .safetensors, or what torch.save wrote.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder for the submission; must not hold anything yet.")],
    track: Annotated[str, typer.Option(help="The track it was trained on; see `faceveil list tracks`.")],
    backbone: Annotated[str | None, typer.Option(help="Its architecture; default the track's. Any timm name works.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="An argument of that backbone, key=value.")] = None,
    defense: Annotated[str, typer.Option("--defense", "--defence", help="Defence, or several as first+second.")] = "undefended",
    defense_set: Annotated[
        list[str] | None, typer.Option("--defense-set", "--defence-set", help="A setting of the defence, key=value.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name on the card; default the file's.")] = None,
    team: Annotated[str, typer.Option(help="Team on the card.")] = "anonymous",
    licence: Annotated[str, typer.Option(help="Licence of weights and results.")] = "unstated",
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    json: Json = False,
) -> None:
    """Writes a submission folder with a fitting card.json from weights of your own.

    Example: faceveil pack backbone.pt --backbone iresnet_slim --track synthetic-quick --team "Our Lab" --out run/ours
    """
    from benchmark.protocol.tracks import get_track
    from benchmark.submissions.pack_weights import pack_weights
    from benchmark.training.composition import parse_defenses

    refuse_overwriting(out_)
    if set_ and backbone is None:
        raise FaceVeilError("--set gives arguments to --backbone NAME; name one (see `faceveil list backbones`).")
    spec = BackboneSpec(name=backbone, kwargs=settings(set_ or [])) if backbone else None
    fields: dict[str, Any] = {"team": team, "licence": licence, "seed": seed} | ({"name": name} if name else {})
    fields["defenses"] = parse_defenses(defense, settings(defense_set or []))
    submission = pack_weights(weights, out_, get_track(track), backbone=spec, fields=fields)
    report = describe(submission, out_)
    emit(report, json, lambda: facts(report))


@card_app.command("schema")
def schema() -> None:
    """Prints the JSON schema of card.json."""
    from benchmark.submissions.card import Card

    print(json_.dumps(Card.model_json_schema(), indent=2))


@card_app.command("fields")
def fields(json: Json = False) -> None:
    """Lists every field of card.json with its meaning and an example."""
    from benchmark.submissions.card import fields as card_fields

    rows = card_fields()

    def show() -> None:
        for row in rows:
            out.print(f"{row['field']}{'' if row['required'] else ' (optional)'}", style="bold", markup=False)
            out.print(f"  {row['meaning']}", markup=False)
            if row["example"] is not None:
                out.print(f"  example: {json_.dumps(row['example'])}", markup=False, style="dim", soft_wrap=True)

    emit(rows, json, show)
