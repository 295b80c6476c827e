"""A public checkpoint as a submission."""

from __future__ import annotations

from pathlib import Path

from benchmark.card import AdditionalData, Card
from benchmark.checkpoints import import_checkpoint
from benchmark.interfaces import DefenseSpec
from benchmark.submission import Submission, pack


def import_submission(weights: Path, out: Path, *, name: str, track: str) -> tuple[Submission, tuple[str, ...]]:
    """Reads a checkpoint (weights only), packs it, and tells what was done with each group of tensors.

    Raises:
        FaceVeilError: an unknown layout, no BatchNorm statistics left, a pickle with code; see ``checkpoints``.
    """
    imported = import_checkpoint(weights)
    card = Card(
        name=name[:80],
        track=track,
        defenses=(DefenseSpec(name="undefended"),),
        backbone=imported.spec,
        norm="batch",
        embedding_size=imported.embedding_size,
        input=imported.input,
        additional_data=(AdditionalData(name=weights.name, use="a public checkpoint, trained elsewhere"),),
        training={"layout": imported.layout, "file_sha256": imported.file_sha256},
    )
    return pack(out, card, imported.backbone()), tuple(imported.notes)
