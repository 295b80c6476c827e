"""The threat model: what an attacker may touch, what he knows, and what he has to tell apart."""

from __future__ import annotations

from enum import StrEnum


class Access(StrEnum):
    """What the attacker may touch, from least to most."""

    SIMILARITY = "similarity"
    EMBEDDING = "embedding"
    WEIGHTS = "weights"
    HEAD = "head"

    def allows(self, needed: Access) -> bool:
        """True where an attacker with this access may do what needs ``needed``."""
        ladder = list(Access)
        return ladder.index(self) >= ladder.index(needed)


class Knowledge(StrEnum):
    """What the attacker knows about membership beforehand.  The share is the protocol's, never the attack's."""

    NONE = "none"
    PARTIAL = "partial"
    AUXILIARY = "auxiliary"
    QUERY_POOL = "query_pool"

    @property
    def uses_shadows(self) -> bool:
        """Whether it takes shadow backbones."""
        return self in (Knowledge.AUXILIARY, Knowledge.QUERY_POOL)


class Contrast(StrEnum):
    """Which two populations a membership attack has to tell apart (positive against negative)."""

    SAMPLE = "sample"  # seen photos of members against unseen photos of the same people
    IDENTITY = "identity"  # unseen photos of members against photos of people never trained on
    PAPER = "seen_vs_held_out"  # seen photos against people never trained on: mixes the two, never the headline


class Goal(StrEnum):
    """What an inversion is after.  Only the second measures what a backbone keeps of its *training* faces."""

    TEMPLATE = "template"  # A: one leaked embedding -> a face of that person, member or not
    TRAINING_IDENTITIES = "training_identities"  # B: nothing -> faces of people that were trained on
