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
    from benchmark.protocol.catalogue import catalogue

    yield "# Attacks\n"
    yield "Written from the plug-ins themselves; `faceveil list attacks` prints the same.\n"
    found = catalogue()
    for kind, title in (("membership", "Membership inference"), ("inversion", "Inversion")):
        yield f"## {title}\n"
        for row in found[kind]:
            yield from _plugin(row)


def defenses() -> Iterator[str]:
    from benchmark.protocol.catalogue import catalogue

    yield "# Defences\n"
    yield "Written from the plug-ins themselves; `faceveil list defenses` prints the same.\n"
    for row in catalogue()["defenses"]:
        yield from _plugin(row)
        adaptive = ", ".join(f"`{label}`" for label in row["adaptive"])
        yield f"Adaptive attacks: {adaptive or 'none: shown, not ranked'}.\n"


def _plugin(row: dict[str, Any]) -> Iterator[str]:
    yield f"### {row['title']} (`{row['name']}`)\n"
    yield f"{row['summary']}\n"
    source = " ".join([row["reference"], *(f"[{link.rpartition('/')[2]}]({link})" for link in row["links"])])
    facts = {"Source": source, "Family": row["family"], "Access": row["access"], "Contrasts": ", ".join(row["contrasts"])}
    yield "\n".join(f"{name}: {value}.  " for name, value in facts.items() if value) + "\n"
    if row["settings"]:
        yield "| setting | default | meaning | bounds |"
        yield "|---|---|---|---|"
        for field in row["settings"]:
            cells = (f"`{field['name']}`", f"`{json.dumps(field['default'])}`", field["meaning"], field["bounds"])
            yield f"| {' | '.join(map(_cell, cells))} |"
        yield ""


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
