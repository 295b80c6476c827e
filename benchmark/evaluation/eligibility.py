"""What a reader should know of an entry before its numbers: red flags, and why it has no rank."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.data.populations import Populations
from benchmark.interfaces import Defense
from benchmark.protocol.tracks import CANARIES
from benchmark.records.results import AttackResult, Gate
from benchmark.submissions.red_flags import red_flags
from benchmark.submissions.report import Flag
from benchmark.submissions.submission import Submission

PROBES = 16


def flags(submission: Submission, populations: Populations) -> list[Flag]:
    """Red flags of the backbone on a few verification photos, and of the card on this track."""
    photos = populations.verification
    found = list(red_flags(submission, photos.load(range(min(PROBES, len(photos))))))
    named, track = submission.card.track, populations.track.name
    if named != track:
        reason = f"The card names track {named!r}: on {track!r} nobody says what these weights were trained on."
        found.append(Flag(name="other_track", severity="warning", reason=reason))
    with_canaries = submission.card.canaries is not None
    if with_canaries != track.endswith(CANARIES):
        reason = (
            f"These weights were trained {'with' if with_canaries else 'without'} canaries: they have no rank on {track!r}."
        )
        found.append(Flag(name="canaries", severity="error", reason=reason))
    return found


def reasons_unranked(
    all_attacks: bool,
    gate: Gate,
    results: Sequence[AttackResult],
    defenses: Sequence[Defense],
    stated: int,
    flags: Sequence[Flag],
) -> tuple[str, ...]:
    """Why an entry has no rank; empty where it has one.

    Args:
        all_attacks: every attack of the track and of the defence was run.
        defenses: those of the card that are known here, ``stated`` being how many it names.
    """
    reasons = [] if all_attacks else ["only some of the track's attacks were run"]
    if not gate.valid:
        reasons.append("the blind gate failed: every contrast of the headline can be told without the model")
    reasons += [f"attack {r.label} failed: {r.reason}" for r in results if r.status == "failed"]
    reasons += [f"{d.name} not applicable: {d.not_applicable}" for d in defenses if d.not_applicable]
    if sum(bool(d.adaptive_attacks()) for d in defenses) < stated:
        reasons.append("not adaptively tested: no attack here knows this defence")
    return tuple(reasons + [f.reason for f in flags if f.severity == "error"])
