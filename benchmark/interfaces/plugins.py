"""Plug-ins: frozen pydantic models whose fields are their settings, and the plain data that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from benchmark.interfaces.threat import Contrast


class Result(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(BaseModel):
    """Where a method comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    where: str = ""  # venue, year
    arxiv: str = ""
    equation: str = ""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no blanks.  Hashes of settings are taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def content_hash(*parts: Any, length: int = 16) -> str:
    """A short sha256 over JSON values, for cache keys."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:length]


class PluginSpec(BaseModel):
    """A plug-in by name with its settings: plain data, so that protocols and cards can name what they do not import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """A short text that tells two settings of one plug-in apart, such as ``bn_distance(statistics=auxiliary)``."""
        if not self.settings:
            return self.name
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in sorted(self.settings.items()))})"


class AttackSpec(PluginSpec):
    """An attack by name with its settings."""


class DefenseSpec(PluginSpec):
    """A defence by name with its settings."""


class BackboneSpec(BaseModel):
    """A timm model name with its arguments; ``norm`` among them exchanges the normalisation of any model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kwargs: Mapping[str, Any] = Field(default_factory=dict)


class Plugin(BaseModel):
    """Base of attacks and defences: a frozen model whose fields are its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    title: ClassVar[str] = ""  # the name that people use, such as "DP-SGD"; "": the plain name
    summary: ClassVar[str]
    reference: ClassVar[Reference]

    def display(self) -> str:
        """The name that people use, with those settings that differ from the defaults."""
        return ", ".join((self.title or self.name.replace("_", " "), *self.display_settings()))

    def display_settings(self) -> list[str]:
        """Those settings, each in a few words."""
        values = self.settings()
        defaults = {name: f.get_default(call_default_factory=True) for name, f in type(self).model_fields.items()}
        changed = {name: value for name, value in values.items() if value != defaults[name]}
        return [
            f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
            for name, value in changed.items()
        ]

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, as JSON data."""
        return self.model_dump(mode="json")


class PluginInfo(Result):
    """What an attack or a defence is, as its class says."""

    name: str
    summary: str
    reference: str
    family: str = ""
    access: str = ""
    contrasts: tuple[Contrast, ...] = ()
    file_sha256: str = ""  # of the file it came from, where that is not part of the project
    goals: tuple[str, ...] = ()  # of inversion
    display: str = ""  # the name that people use, with its settings; "" in records of protocol 0.2
