"""``faceveil list``: what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from benchmark.cli.output import Json, emit, out
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.interfaces import Plugin


class Kind(StrEnum):
    TRACKS = "tracks"
    ATTACKS = "attacks"
    DEFENSES = "defenses"
    BACKBONES = "backbones"
    PLUGINS = "plugins"


def _kind(text: str) -> Kind:
    """A kind by its name, in British spelling too."""
    try:
        return Kind(text.replace("defences", "defenses"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(Kind)}.") from None


def _tracks() -> list[dict[str, Any]]:
    from benchmark.protocol.tracks import known_tracks

    rows = []
    for t in known_tracks().values():
        people = ", ".join(f"{getattr(t.roles, r)} {r}" for r in ("pool", "verification", "public", "auxiliary", "judges"))
        rows.append({
            "name": t.name, "summary": t.summary, "image_size": t.image_size, "people": people,
            "photos": f"{t.roles.photos} of a person of the pool, half of them trained on",
            "backbones_of_an_entry": t.population, "backbone": t.backbone.name,
            "epochs": t.training.epochs, "minutes_on_2_cores": t.entry_minutes, "protocol": t.version,
        })  # fmt: skip
    return rows


def _plugins(kind: Kind) -> list[dict[str, Any]]:
    from benchmark.protocol import registry

    tables: dict[Kind, Callable[[], Mapping[str, type[Plugin]]]] = {
        Kind.ATTACKS: lambda: {**registry.membership_attacks(), **registry.inversion_attacks()},
        Kind.DEFENSES: registry.defenses,
    }
    rows = []
    for plugin in tables[kind]().values():
        row = registry.info(plugin).model_dump(mode="json")
        fields = {name: f.get_default(call_default_factory=True) for name, f in plugin.model_fields.items()}
        row["settings"] = ", ".join(f"{k}={getattr(v, 'value', v)}" for k, v in fields.items())
        row["contrasts"], row["goals"] = (", ".join(row[key]) for key in ("contrasts", "goals"))
        rows.append({k: v for k, v in row.items() if v or k == "settings"})
    return rows


def _plugin(kind: Kind, name: str) -> dict[str, Any]:
    """The description of one attack or defence.

    Raises:
        FaceVeilError: there is none of that name.
    """
    from benchmark.protocol.catalogue import catalogue

    found = catalogue()
    kinds = {Kind.ATTACKS: ("membership", "inversion"), Kind.DEFENSES: ("defenses",), Kind.PLUGINS: tuple(found)}
    rows = {row["name"]: row for part in kinds.get(kind, ()) for row in found[part]}
    if name not in rows:
        known = f"one of {', '.join(sorted(rows))}" if rows else "a name goes with attacks, defenses and plugins"
        raise FaceVeilError(f"no {kind.value.rstrip('s')} {name!r}: {known}.")
    return rows[name]


def _show_plugin(row: dict[str, Any]) -> None:
    out.print(f"{row['title']} ({row['name']})", style="bold", markup=False)
    out.print(row["summary"], markup=False)
    texts = {key: row[key] for key in ("family", "access") if row[key]}
    texts |= {"source": " ".join([row["reference"], *row["links"]]), "contrasts": ", ".join(row["contrasts"])}
    texts["attacked by those who know it with"] = "; ".join(row.get("adaptive", ()))
    for key, text in texts.items():
        if text:
            out.print(Text(f"{key}: {text}", style="dim"))
    if not row["settings"]:
        out.print("It has no settings.")
    for field in row["settings"]:
        default = "" if field["default"] is None else f" = {field['default']}"
        out.print(f"  {field['name']}{default}", style="bold", markup=False)
        meaning = " ".join(part for part in (field["meaning"], f"({field['bounds']})" if field["bounds"] else "") if part)
        if meaning:
            out.print(Padding(Text(meaning), (0, 0, 0, 4)))


def _backbones() -> list[dict[str, Any]]:
    import timm

    from benchmark.models import backbones, timm_names  # noqa: F401  names that timm knows from then on

    rows = [{"name": name, "summary": timm.model_entrypoint(name).__doc__ or ""} for name in backbones.names()]
    return [*rows, {"name": "any timm model", "summary": "with a pooled feature, by its timm name."}]


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        out.print(row["name"], style="bold", markup=False)
        out.print(Padding(Text(row["summary"]), (0, 0, 0, 2)))
        for key, value in row.items():
            if key not in ("name", "summary") and value not in ("", None):
                out.print(Padding(Text(f"{key}: {value}", style="dim"), (0, 0, 0, 2)))


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("list")
    def list_(
        kind: Annotated[
            Kind, typer.Argument(help="What to list.", parser=_kind, metavar="tracks|attacks|defenses|backbones|plugins")
        ],
        name: Annotated[
            str | None, typer.Argument(help="Only this attack or defence, with the meaning of every setting.")
        ] = None,
        json: Json = False,
    ) -> None:
        """Lists tracks, attacks, defences or backbones; plugins: all attacks and defences with the meaning of every setting."""
        if name is not None:
            plugin = _plugin(kind, name)
            return emit(plugin, json, lambda: _show_plugin(plugin))
        if kind is Kind.PLUGINS:
            from benchmark.protocol.catalogue import catalogue

            found = catalogue()
            rows = [row for rows in found.values() for row in rows]
            return emit(found, json, lambda: _show([{"name": r["name"], "summary": r["summary"]} for r in rows]))
        makers = {Kind.TRACKS: _tracks, Kind.BACKBONES: _backbones}
        rows = makers[kind]() if kind in makers else _plugins(kind)
        return emit(rows, json, lambda: _show(rows))
