"""Writes the reference pages of the documentation from the plug-ins, the tracks, the card and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from leaderboard.charts.drawings import DRAWINGS


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    pages: dict[str, Callable[[], Iterator[str]]] = {
        "attacks": attacks,
        "defenses": defenses,
        "tracks": tracks,
        "card": card,
        "commands": commands,
    }
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(page()) + "\n"))
    for name, draw in DRAWINGS.items():
        files.append(File.generated(config, f"pictures/{name}.svg", content=draw()))
    return files


def attacks() -> Iterator[str]:
    from benchmark.protocol import registry

    yield "# Attacks\n"
    yield "Written from the plug-ins themselves. `faceveil list attacks` prints the same.\n"
    for title, table in (("Membership inference", registry.membership_attacks()), ("Inversion", registry.inversion_attacks())):
        yield f"## {title}\n"
        for plugin in table.values():
            yield from _plugin(plugin)


def defenses() -> Iterator[str]:
    from benchmark.protocol import registry

    yield "# Defences\n"
    yield "Written from the plug-ins themselves. `faceveil list defenses` prints the same.\n"
    for plugin in registry.defenses().values():
        yield from _plugin(plugin)
        adaptive = ", ".join(f"`{spec.label}`" for spec in plugin().adaptive_attacks())
        yield f"Adaptive attacks: {adaptive or 'none: shown, not ranked'}.\n"


def _plugin(plugin: Any) -> Iterator[str]:
    from benchmark.protocol import registry

    info = registry.info(plugin)
    yield f"### {info.name}\n"
    yield f"{info.summary}\n"
    facts = {"Source": info.reference, "Family": info.family, "Access": info.access, "Contrasts": ", ".join(info.contrasts)}
    yield "\n".join(f"{name}: {value}.  " for name, value in facts.items() if value) + "\n"
    fields = plugin.model_json_schema()["properties"]
    if fields:
        yield "| setting | default | meaning and bounds |"
        yield "|---|---|---|"
        for name, field in fields.items():
            yield f"| `{name}` | `{json.dumps(field.get('default'))}` | {_cell(_bounds(field))} |"
        yield ""


def _bounds(field: dict[str, Any]) -> str:
    names = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    options = [field, *field.get("anyOf", ())]
    limits = [f"{sign} {option[key]}" for option in options for key, sign in names.items() if key in option]
    choices = [f"one of {', '.join(map(str, option['enum']))}" for option in options if "enum" in option]
    return "; ".join(part for part in (field.get("description", ""), *limits, *choices) if part)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def tracks() -> Iterator[str]:
    from benchmark.protocol.tracks import TRACKS

    yield "# Tracks\n"
    for track in TRACKS.values():
        yield f"## {track.name}\n"
        yield f"{track.summary}\n"
        rows = {**track.roles.model_dump(), "image size": track.image_size, "backbone": track.backbone.name}
        rows |= {"epochs": track.training.epochs, "protocol": track.version, "attacks": len(track.attacks)}
        yield "| | |"
        yield "|---|---|"
        for name, value in rows.items():
            yield f"| {name.replace('_', ' ')} | {value} |"
        yield ""


def card() -> Iterator[str]:
    from benchmark.submissions.card import fields

    yield "# card.json\n"
    yield "What a submission says of itself. `faceveil card schema` prints the JSON schema, `faceveil pack` writes a card"
    yield "that fits your weights, and `faceveil validate` names every field that does not.\n"
    yield "| field | required | meaning | example |"
    yield "|---|---|---|---|"
    for row in fields():
        example = "" if row["example"] is None else f"`{json.dumps(row['example'])}`"
        yield f"| `{row['field']}` | {'yes' if row['required'] else ''} | {_cell(row['meaning'])} | {_cell(example)} |"


def commands() -> Iterator[str]:
    import typer.main

    from benchmark.cli.app import app

    yield "# Commands\n"
    yield "`faceveil COMMAND --help` prints the same. Every command that reports has `--json`: one document on stdout,"
    yield "progress and log on stderr. Exit codes: 0 done, 1 refused or failed with a message, 2 wrong usage.\n"
    yield from _command("faceveil", typer.main.get_command(app))


def _command(path: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if not children:
        yield f"## {path}\n"
        yield f"{(command.help or '').strip()}\n"
        yield "| option | meaning |"
        yield "|---|---|"
        for option in command.params:
            names = ", ".join(f"`{name}`" for name in option.opts if name.startswith("-")) or f"`{option.name}`"
            yield f"| {names} | {_cell(getattr(option, 'help', None) or '')} |"
        yield ""
    for name, child in children.items():
        yield from _command(f"{path} {name}", child)
