"""Kinds of photos that procedural people can be drawn in: how much each nuisance differs from photo to photo."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from benchmark.data.procedural.parameters import NUISANCE_SPREAD, PHOTO
from benchmark.interfaces import content_hash, unknown

# domain: standard deviation of every nuisance.  ``studio``: portraits under control, where pose, light, expression, scene and
# camera vary little, as in public photos; ``wild``: photos of people as they come.
DOMAINS = MappingProxyType(
    {
        "wild": MappingProxyType(dict.fromkeys(PHOTO, NUISANCE_SPREAD)),
        "studio": MappingProxyType(dict.fromkeys(PHOTO, 0.35 * NUISANCE_SPREAD)),
    }
)


def spreads(domain: str) -> np.ndarray:
    """(len(PHOTO),) standard deviations, in the order of ``PHOTO``.

    Raises:
        UnknownPluginError: no such domain; names the nearest.
    """
    if domain not in DOMAINS:
        raise unknown("domain of procedural faces", domain, DOMAINS)
    return np.array([DOMAINS[domain][name] for name in PHOTO])


def domain_digest(domain: str) -> str:
    """Content hash of what a domain stands for."""
    return content_hash(PHOTO, spreads(domain).tolist())
