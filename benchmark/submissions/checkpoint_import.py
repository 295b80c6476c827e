"""A public checkpoint as a submission."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.models.checkpoints import import_checkpoint
from benchmark.models.graph_network import NAME as GRAPH
from benchmark.models.imported import Fed, Imported
from benchmark.models.normalisation import norm_kinds
from benchmark.runtime.home import cache_dir
from benchmark.submissions.card import AdditionalData, Card
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission, load_submission, pack, pack_onnx


def open_weights(path: Path) -> Submission:
    """A submission folder or zip, or a public checkpoint, imported into the cache at its first use."""
    if path.is_dir() or path.suffix == ".zip":
        return load_submission(path)
    if not path.is_file():
        raise FaceVeilError(f"no weights at {path}: give a submission folder, its zip, or a public checkpoint file.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_dir() / "imported" / digest[:16]
    if not is_packed(folder):
        import_submission(path, folder, name=path.stem, track="faces-112")
    return load_submission(folder)


def import_submission(
    weights: Path, out: Path, *, name: str, track: str, fed: Fed | None = None
) -> tuple[Submission, Imported]:
    """Reads a network (weights only), packs it, and reports what was done with each group of tensors.

    Raises:
        FaceVeilError: an unknown layout, an operator that is not read, a pickle with code; see ``checkpoints``.
    """
    imported = import_checkpoint(weights, fed)
    return pack_imported(imported, weights, out, name=name, track=track), imported


def pack_imported(
    imported: Imported, weights: Path, out: Path, *, name: str, track: str, keep_onnx: bool = False
) -> Submission:
    """Packs what was read from the file ``weights``; ``keep_onnx``: an ONNX file as it is."""
    backbone = imported.backbone()
    kinds = norm_kinds(backbone)
    card = Card(
        name=name[:80],
        track=track,
        defenses=(DefenseSpec(name="undefended"),),
        backbone=imported.spec,
        norm=next((kind for kind in ("batch", "group", "layer") if kind in kinds), "none"),
        embedding_size=imported.embedding_size,
        input=imported.input,
        additional_data=(AdditionalData(name=weights.name[:80], use="a public checkpoint, trained elsewhere"),),
        training={"layout": imported.layout, "file_sha256": imported.file_sha256},
    )
    if not keep_onnx:
        return pack(out, card, backbone)
    if imported.backbone_name != GRAPH:
        raise FaceVeilError(f"{weights} was read as {imported.layout}, not as an ONNX graph: it is packed as weights.")
    return pack_onnx(out, card.model_copy(update={"backbone": BackboneSpec(name=GRAPH)}), weights)
