"""Which weights this installation trained itself.

An entry is ``verified`` when the evaluator trained it from the defence's plug-in and configuration: what it was trained
on is then known.  The trainer notes each submission it makes here, with the settings and the data it was made from; a
submission whose card says otherwise does not match its note.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.data.populations import Populations
from benchmark.interfaces import canonical_json
from benchmark.runtime.atomic import write_text
from benchmark.submissions.submission import Submission


def _origin(submission: Submission, populations: Populations) -> dict[str, Any]:
    card = submission.card
    return {
        "defenses": [d.model_dump(mode="json") for d in card.defenses],
        **({"plugin_files": dict(card.plugin_files)} if card.plugin_files else {}),
        "backbone": card.backbone.model_dump(mode="json"),
        "initialised_from": card.initialised_from,
        "seed": card.seed,
        # what a reader of the verified board takes for measured or proved: the trainer's word alone, never a submitter's
        "claim": card.claim.model_dump(mode="json") if card.claim else None,
        "training": card.model_dump(mode="json")["training"],
        "additional_data": [data.model_dump(mode="json") for data in card.additional_data],
        "canaries": card.canaries.model_dump(mode="json") if card.canaries else None,
        "norm": card.norm,
        "number": card.number,
        "track": populations.track.digest,
        "data": populations.data_digest,
        "split": populations.split_digest,
    }


def _path(cache: Path, submission: Submission) -> Path:
    return cache / "trained-here" / f"{submission.submission_id}.json"


def note_trained_here(cache: Path, submission: Submission, populations: Populations) -> None:
    """Remembers that these weights were trained by this installation, on the track's members."""
    write_text(_path(cache, submission), canonical_json(_origin(submission, populations)))


def was_trained_here(cache: Path, submission: Submission, populations: Populations) -> bool:
    """True where these very weights were trained here, as the card says, on this track's members."""
    path = _path(cache, submission)
    return path.exists() and path.read_text(encoding="utf-8") == canonical_json(_origin(submission, populations))
