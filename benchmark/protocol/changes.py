"""What changed between versions of the protocol: records of different versions never share a ranking."""

from __future__ import annotations

from types import MappingProxyType

# version: what a result depends on that became different, in a sentence or two
CHANGES = MappingProxyType(
    {
        "0.1": "First walk through the whole house: blind gate, four membership attacks, four defences.",
        "0.2": "More attacks and defences on every track, so that a headline is the worst of more; inversion beside it.",
        "0.3": "Public faces are another domain, so that private photos are worth something; an entry is a population of "
        "backbones, each attacked with the others of the same defence as shadows; nothing found counts as 0; value gate, gates "
        "per contrast.",
    }
)
