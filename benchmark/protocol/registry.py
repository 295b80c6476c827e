"""Finds what can be added from outside by name: attacks, defences, tracks and backbones.

They come from entry points (groups ``faceveil.attacks``, ``faceveil.defenses``, ``faceveil.tracks``, ``faceveil.backbones``)
and from single files (``--plugin FILE``).  An entry point names a module or a package; every module in it is searched, so a new
plug-in is one new file and no other edit.  A package that cannot be imported is a warning, not the end of every command.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from benchmark.interfaces import (
    Defense,
    FaceVeilError,
    InversionAttack,
    MembershipAttack,
    Plugin,
    PluginInfo,
    PluginSpec,
    SettingsError,
    unknown,
)
from benchmark.protocol.track import Track

P = TypeVar("P", bound=Plugin)
GROUPS: dict[str, tuple[type[Plugin], ...]] = {
    "faceveil.attacks": (MembershipAttack, InversionAttack),
    "faceveil.defenses": (Defense,),
}


_from_files: dict[str, str] = {}  # plug-in name -> sha256 of the file it came from
_files: dict[str, Path] = {}  # sha256 -> that file


def _modules(entry: EntryPoint) -> Iterable[ModuleType]:
    """The entry point's module and, where it is a package, those in it; without those that cannot be imported."""
    package = _imported(entry, entry.module)
    if package is None:
        return
    yield package
    for info in pkgutil.iter_modules(getattr(package, "__path__", ())):
        module = _imported(entry, f"{package.__name__}.{info.name}")
        if module is not None:
            yield module


def _imported(entry: EntryPoint, name: str) -> ModuleType | None:
    """A module, or None with a warning where it belongs to somebody else and fails."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        if entry.dist is None or entry.dist.name == "faceveil":
            raise
        problem = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"plug-in {entry.name!r} of package {entry.dist.name!r} is left out: {name} cannot be imported ({problem}). "
            "Update or uninstall that package.",
            stacklevel=2,
        )
        return None


def _plugins_in(module: ModuleType, kinds: tuple[type[Plugin], ...]) -> Iterable[type[Plugin]]:
    for item in vars(module).values():
        concrete = inspect.isclass(item) and issubclass(item, kinds) and item.__module__ == module.__name__
        if concrete and isinstance(getattr(item, "name", None), str):
            yield item


@cache
def _table(group: str) -> dict[str, type[Plugin]]:
    table: dict[str, type[Plugin]] = {}
    for entry in entry_points(group=group):
        for module in _modules(entry):
            for plugin in _plugins_in(module, GROUPS[group]):
                _add(table, plugin)
    return table


def _add(table: dict[str, type[Plugin]], plugin: type[Plugin]) -> None:
    present = table.get(plugin.name)
    if present is not None and present is not plugin:
        raise FaceVeilError(
            f"two plug-ins are called {plugin.name!r}: {present.__module__} and {plugin.__module__}. Rename one of them."
        )
    table[plugin.name] = plugin


def load_plugin_file(path: Path) -> tuple[str, ...]:
    """Adds what a Python file defines (``--plugin FILE``): attacks, defences, tracks, backbones; returns the names.

    The file's code runs: only ever pass files that you trust.
    """
    if not path.is_file():
        raise FaceVeilError(f"plug-in file {path} does not exist.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    module = sys.modules.get(f"faceveil_plugin_{digest[:12]}") or _executed(path, f"faceveil_plugin_{digest[:12]}")
    names = []
    for group, kinds in GROUPS.items():
        for plugin in _plugins_in(module, kinds):
            _add(_table(group), plugin)
            _from_files[plugin.name] = digest
            names.append(plugin.name)
    for track in _tracks_in(module):
        tracks()[track.name] = track
        names.append(track.name)
    names += backbones_in(module)
    if not names:
        raise FaceVeilError(
            f"{path} defines no attack, defence, track or backbone: subclass MembershipAttack or Defense and give it a `name`, "
            "assign a Track, or register a network with timm's @register_model."
        )
    _files[digest] = path
    return tuple(names)


def _tracks_in(module: ModuleType) -> list[Track]:
    return [item for item in vars(module).values() if isinstance(item, Track)]


@cache
def tracks() -> dict[str, Track]:
    """Tracks from outside the project, by name: module-level :class:`Track` objects of the entry points and files."""
    modules = [m for entry in entry_points(group="faceveil.tracks") for m in _modules(entry)]
    return {track.name: track for module in modules for track in _tracks_in(module)}


def backbones_in(module: ModuleType) -> list[str]:
    """The names under which a module has registered networks in timm; importing it is what registers them."""
    if "timm" not in sys.modules:
        return []
    from timm.models import list_models, model_entrypoint

    return [name for name in list_models() if model_entrypoint(name).__module__ == module.__name__]


@cache
def backbones() -> tuple[str, ...]:
    """Backbones from outside the project: imports the modules of the entry points, whose networks timm knows from then on."""
    modules = [m for entry in entry_points(group="faceveil.backbones") for m in _modules(entry)]
    return tuple(name for module in modules for name in backbones_in(module))


def _executed(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FaceVeilError(f"plug-in file {path} is not a Python file (expected a name ending in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: pydantic looks up a class's module by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def plugin_files() -> tuple[Path, ...]:
    """The files that were loaded by ``--plugin``, for another process to load."""
    return tuple(_files.values())


def plugin_file_digest(name: str) -> str | None:
    """The sha256 of the file a plug-in was loaded from by ``--plugin``, or None for those that are installed."""
    return _from_files.get(name)


def _of_kind(group: str, kind: type[P]) -> dict[str, type[P]]:
    return {name: plugin for name, plugin in sorted(_table(group).items()) if issubclass(plugin, kind)}


def membership_attacks() -> dict[str, type[MembershipAttack]]:
    """Every membership attack by name."""
    return _of_kind("faceveil.attacks", MembershipAttack)


def inversion_attacks() -> dict[str, type[InversionAttack]]:
    """Every inversion attack by name."""
    return _of_kind("faceveil.attacks", InversionAttack)


def defenses() -> dict[str, type[Defense]]:
    """Every defence by name."""
    return _of_kind("faceveil.defenses", Defense)


def _build(kind: str, table: dict[str, type[P]], spec: PluginSpec) -> P:
    if spec.name not in table:
        raise unknown(kind, spec.name, table)
    try:
        return table[spec.name](**dict(spec.settings))
    except ValidationError as error:
        raise SettingsError(_settings_message(kind, table[spec.name], error)) from None


def _as_typed(value: Any) -> Any:
    """A default as a user would write it."""
    return value.value if isinstance(value, Enum) else value


def _settings_message(kind: str, plugin: type[Plugin], error: ValidationError) -> str:
    known = ", ".join(
        f"{name} (default {_as_typed(f.get_default(call_default_factory=True))!r})" for name, f in plugin.model_fields.items()
    )
    problems = []
    for problem in error.errors():
        where = ".".join(str(p) for p in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, plugin.model_fields, n=1)
            problems.append(f"no setting {where!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        else:
            expected = re.sub(r"<\w+\.\w+: ('\w+')>", r"\1", problem["msg"])
            problems.append(f"{where}: {expected} (given {problem['input']!r})")
    return f"{kind} {plugin.name!r}: {'; '.join(problems)}. Settings: {known or 'none'}."


def build_attack(spec: PluginSpec) -> MembershipAttack:
    """A membership attack from its spec.

    Raises:
        UnknownPluginError: no such attack.
        SettingsError: settings it does not have, or values out of range.
    """
    return _build("attack", membership_attacks(), spec)


def build_attacks(specs: Iterable[PluginSpec]) -> list[MembershipAttack]:
    """Attacks to be asked what they need; raises as :func:`build_attack`.  For every fit one is built anew."""
    return [build_attack(spec) for spec in specs]


def build_inversion(spec: PluginSpec) -> InversionAttack:
    """An inversion attack from its spec; raises as :func:`build_attack`."""
    return _build("inversion attack", inversion_attacks(), spec)


def build_defense(spec: PluginSpec) -> Defense:
    """A defence from its spec; raises as :func:`build_attack`."""
    return _build("defence", defenses(), spec)


S = TypeVar("S", bound=PluginSpec)


def canonical(spec: S, plugin: Plugin) -> S:
    """The spec with those settings alone that differ from the plug-in's defaults, so that equal settings have one name."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in type(plugin).model_fields.items()}
    values = {name: getattr(plugin, name) for name in defaults}
    settings = plugin.settings()
    return spec.model_copy(update={"settings": {n: settings[n] for n, v in values.items() if v != defaults[n]}})


def service(name: str) -> Any:
    """A function that another part of the house offers by name (entry points ``faceveil.services``): ``rank``, ``board``."""
    found = {entry.name: entry for entry in entry_points(group="faceveil.services")}
    if name not in found:
        raise unknown("service", name, found)
    return found[name].load()


def info(plugin: Plugin | type[Plugin]) -> PluginInfo:
    """What a plug-in's class says of itself, for records and listings."""
    ref = plugin.reference
    where = ", ".join(part for part in (ref.where, f"arXiv {ref.arxiv}" if ref.arxiv else "", ref.equation) if part)
    details: dict[str, Any] = {}
    for name in ("family", "access", "contrasts", "goals"):
        if hasattr(plugin, name):
            details[name] = getattr(plugin, name)
    return PluginInfo(
        name=plugin.name,
        summary=plugin.summary,
        reference=f"{ref.title}{f' ({where})' if where else ''}",
        file_sha256=plugin_file_digest(plugin.name) or "",
        display=plugin.display() if isinstance(plugin, Plugin) else plugin.title or plugin.name.replace("_", " "),
        **details,
    )
