"""Everything that plug-ins say of themselves, as plain data: for the pages of the board and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.interfaces import Defense, Plugin
from benchmark.protocol import registry

_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Plug-ins by kind (``defenses``, ``membership``, ``inversion``), each with its settings, source and adaptive attacks."""
    kinds: dict[str, Mapping[str, type[Plugin]]] = {
        "defenses": registry.defenses(),
        "membership": registry.membership_attacks(),
        "inversion": registry.inversion_attacks(),
    }
    return {kind: [_entry(plugin) for plugin in table.values()] for kind, table in kinds.items()}


def _entry(plugin: type[Plugin]) -> dict[str, Any]:
    info = registry.info(plugin)
    row: dict[str, Any] = {
        "name": info.name,
        "title": plugin.title or info.name.replace("_", " "),
        "summary": info.summary,
        "reference": info.reference,
        "links": [f"https://arxiv.org/abs/{number.strip()}" for number in plugin.reference.arxiv.split(",") if number.strip()],
        "family": info.family,
        "access": info.access,
        "contrasts": [str(contrast) for contrast in info.contrasts],
        "settings": _settings(plugin),
    }
    if issubclass(plugin, Defense):
        row["adaptive"] = [spec.label for spec in plugin().adaptive_attacks()]
    return row


def _settings(plugin: type[Plugin]) -> list[dict[str, Any]]:
    """Name, default, meaning and bounds of each setting, as its JSON schema has them."""
    fields: Mapping[str, Any] = plugin.model_json_schema()["properties"]
    return [
        {"name": name, "default": field.get("default"), "meaning": field.get("description", ""), "bounds": _bounds(field)}
        for name, field in fields.items()
    ]


def _bounds(field: Mapping[str, Any]) -> str:
    options = [field, *field.get("anyOf", ())]
    limits = [f"{words} {option[key]:g}" for option in options for key, words in _BOUNDS.items() if key in option]
    several = [option["enum"] for option in options if len(option.get("enum", ())) > 1]  # old pydantic lists a single one
    choices = [f"one of {', '.join(map(str, values))}" for values in several]
    return "; ".join([*limits, *choices])
