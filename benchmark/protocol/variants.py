"""Tracks with a factor changed: ``synthetic-quick[head=softmax,photos=4]``.

The loss, the people and their photos, and the attacker's shadows belong to a track, not to a defence: with another of them
the results stand apart, under the variant's own name, by which it can be asked for anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import HeadSpec, ShadowBudget, Track

HEADS = get_args(HeadSpec.model_fields["name"].annotation)  # by name alone: tracks are read without torch

ROLES = {"photos": 2, "pool": 4, "public": 2, "verification": 2}  # with the least of each: half of the pool is trained on
FACTORS = ("head", *ROLES, "epochs", "population", "shadows")
_NUMBER = re.compile("[0-9]{1,18}")
_NAME = re.compile(r"(?P<base>[^\[\]]+)\[(?P<factors>[^\[\]]*)\]")


def variant(track: Track, factors: Mapping[str, Any]) -> Track:
    """A track with factors changed and named so; the track itself where none is.

    Args:
        factors: ``head`` (a name in :mod:`benchmark.models.heads`), ``photos`` (of a person of the pool; half of them are
            trained on), ``pool``, ``public`` and ``verification`` (how many people), ``epochs``, ``population`` (backbones of
            an entry), and ``shadows`` (the attacker's own, on auxiliary people).

    Raises:
        FaceVeilError: an unknown factor, or a value that it cannot have.
    """
    changed = {k: v for k, v in sorted(factors.items()) if v is not None and v != _present(track, k)}
    if not changed:
        return track
    base, at, held = track.name.partition("@")  # a round stands last
    updates: dict[str, Any] = {"name": f"{base}[{','.join(f'{k}={v}' for k, v in changed.items())}]{at}{held}"}
    for key, value in changed.items():
        if key == "head":
            if value not in HEADS:
                raise FaceVeilError(f"factor head={value}: one of {', '.join(HEADS)}.")
            updates["head"] = track.head.model_copy(update={"name": value})
        elif key == "shadows":
            updates["shadows"] = ShadowBudget(auxiliary=_at_least(0, key, value))
        elif key == "epochs":
            updates["training"] = track.training.model_copy(update={"epochs": _at_least(1, key, value)})
        elif key == "population":
            updates["population"] = _at_least(2, key, value)
        else:
            roles = updates.get("roles", track.roles)
            updates["roles"] = roles.model_copy(update={key: _at_least(ROLES[key], key, value)})
    return track.model_copy(update=updates)


def parse(name: str) -> tuple[str, dict[str, Any]]:
    """A variant's name as the track's name and its factors; a plain name has none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return name, {}
    pairs = (part.partition("=") for part in match["factors"].split(",") if part)
    return match["base"], {key: int(value) if _NUMBER.fullmatch(value) else value for key, _, value in pairs}


def _present(track: Track, factor: str) -> Any:
    if factor not in FACTORS:
        raise FaceVeilError(f"unknown factor {factor!r}; a track can be varied in {', '.join(FACTORS)}.")
    if factor in ROLES:
        return getattr(track.roles, factor)
    return {
        "head": track.head.name,
        "epochs": track.training.epochs,
        "population": track.population,
        "shadows": track.shadows.auxiliary,
    }[factor]


def _at_least(least: int, factor: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FaceVeilError(f"factor {factor}={value}: a whole number of at least {least}.")
    return value
