"""Errors that a user can remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FaceVeilError(Exception):
    """Base of every error that a user can remedy; the command line prints its text and exits with 1."""


class AccessError(FaceVeilError):
    """An attack touched more of the target than its declared access allows."""


class NotApplicableError(FaceVeilError):
    """An attack has no meaning on this target; recorded with its reason, never as 0.5."""


class UnknownPluginError(FaceVeilError):
    """No plug-in, track or backbone of that name."""


class SettingsError(FaceVeilError):
    """A plug-in was given settings that it does not have, or values out of range."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownPluginError:
    """The error for a name that does not exist, with the nearest that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownPluginError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
