"""Which weights this installation trained itself, and which defences of a card it knows.

An entry is ``verified`` when the evaluator trained it from the defence's plug-in and configuration: what it was trained
on is then known.  The trainer notes each submission it makes here, with the settings and the data it was made from; a
submission whose card says otherwise does not match its note.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.populations import Populations
from benchmark.interfaces import BackboneSpec, Defense, FaceVeilError, canonical_json
from benchmark.protocol import registry
from benchmark.runtime.checked import read_sealed, write_sealed
from benchmark.submissions.card import Card
from benchmark.submissions.submission import Submission


def known_defenses(card: Card) -> list[Defense]:
    """The card's defences that are known here: of the same name and, for those from a file, from the very same file."""
    known, files = registry.defenses(), card.plugin_files
    return [
        registry.build_defense(d)
        for d in card.defenses
        if d.name in known and registry.plugin_file_digest(d.name) == files.get(d.name)
    ]


def all_known(card: Card) -> bool:
    """Whether every defence that a card names is known here."""
    return len(known_defenses(card)) == len(card.defenses)


def check_plugins(cache: Path, submission: Submission, populations: Populations) -> None:
    """Refuses an entry trained here from plug-in files that are not loaded now: without them its record would say less.

    Raises:
        FaceVeilError: names the defence, and what to pass.
    """
    card = submission.card
    if all_known(card) or trained_here(cache, submission, populations) is None:
        return
    known = {d.name for d in known_defenses(card)}
    for spec in card.defenses:
        if spec.name not in known:
            loaded = registry.plugin_file_digest(spec.name)
            what = "another file of that name is loaded" if loaded or spec.name in registry.defenses() else "it is not loaded"
            digest = card.plugin_files.get(spec.name, "")[:12]
            raise FaceVeilError(
                f"defence {spec.name!r} of this entry comes from a plug-in file (sha256 {digest}), "
                f"and {what}: run `faceveil --plugin FILE evaluate ...`. Nothing was changed."
            )


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


@dataclass(frozen=True)
class TrainedHere:
    """Which backbone of a population a submission is, and the architecture that was asked for (None: the track's)."""

    number: int = 0
    backbone: BackboneSpec | None = None


def _path(cache: Path, submission: Submission, populations: Populations) -> Path:
    held = f"-{populations.round}" if populations.round else ""  # backbone 0 has the same weights in every round
    return cache / "trained-here" / f"{submission.submission_id}{held}.json"


def note_trained_here(
    cache: Path, submission: Submission, populations: Populations, number: int = 0, backbone: BackboneSpec | None = None
) -> None:
    """Remembers that these weights were trained by this installation as backbone ``number`` of the track's population."""
    spec = backbone.model_dump(mode="json") if backbone else None
    write_sealed(
        _path(cache, submission, populations),
        canonical_json({"origin": _origin(submission, populations), "number": number, "backbone": spec}),
    )


def trained_here(cache: Path, submission: Submission, populations: Populations) -> TrainedHere | None:
    """What was noted where these very weights were trained here as the card says, on this track's photos; else None."""
    path = _path(cache, submission, populations)
    text = read_sealed(path, "train the submission again: it says that these weights were trained here")
    if text is None:
        return None
    note = json.loads(text)
    if canonical_json(note.get("origin")) != canonical_json(_origin(submission, populations)):
        return None
    spec = note["backbone"]
    return TrainedHere(note["number"], BackboneSpec.model_validate(spec) if spec else None)
