"""A public checkpoint as a submission."""

from __future__ import annotations

from pathlib import Path

from benchmark.backbones import create
from benchmark.card import AdditionalData, Card
from benchmark.checkpoints import import_checkpoint
from benchmark.interfaces import DefenseSpec
from benchmark.protocol import BackboneSpec
from benchmark.submission import Submission, pack


def import_submission(weights: Path, out: Path, *, name: str, track: str) -> tuple[Submission, tuple[str, ...]]:
    """Reads a checkpoint (weights only), packs it, and tells what was done with each group of tensors.

    Raises:
        FaceVeilError: an unknown layout, no BatchNorm statistics left, a pickle with code; see ``checkpoints``.
    """
    imported = import_checkpoint(weights)
    backbone = create(imported.backbone_name, imported.kwargs)
    backbone.load_state_dict(imported.state_dict)
    card = Card(
        name=name[:80],
        track=track,
        defenses=(DefenseSpec(name="undefended"),),
        backbone=BackboneSpec(name=imported.backbone_name, kwargs=imported.kwargs),
        norm="batch",
        embedding_size=imported.embedding_size,
        input=imported.input,
        initialised_from=weights.name,
        additional_data=(AdditionalData(name=weights.name, use="a public checkpoint, trained elsewhere"),),
    )
    return pack(out, card, backbone.eval()), tuple(imported.notes)
