"""Models as files, for audits from the shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.checkpoints import read_weights
from benchmark.protocol.track import InputSpec
from benchmark.submissions.checkpoint_import import open_weights


@dataclass(frozen=True)
class OpenedModel:
    """A module with its weights; ``input`` is None where the file does not say what it takes."""

    module: nn.Module
    input: InputSpec | None
    notes: tuple[str, ...] = ()


def open_model(path: Path, backbone: str = "", kwargs: Mapping[str, Any] | None = None) -> OpenedModel:
    """A submission, a public checkpoint of a known layout, or the weights of any timm model (``backbone``).

    Raises:
        FaceVeilError: no such file, an unknown layout, or weights that do not fit ``backbone``.
    """
    if not backbone:
        submission = open_weights(path)
        transformed = submission.card.inference is not None
        note = ("the card names a transform of the embeddings: an attacker who has the weights bypasses it",)
        return OpenedModel(submission.backbone(), submission.card.input, note if transformed else ())
    module = create(backbone, kwargs)
    weights = read_weights(path)
    expected = module.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in expected and tensor.shape == expected[name].shape}
    lacking = sorted(set(expected) - set(fitting))
    if lacking:
        raise FaceVeilError(
            f"{path} does not hold the weights of {backbone!r}: {len(lacking)} of {len(expected)} tensors are missing or "
            f"of another shape, such as {lacking[0]}. Give the arguments the model was built with by --backbone-set."
        )
    module.load_state_dict(fitting)
    dropped = sorted(set(weights) - set(fitting))
    notes = (f"{len(dropped)} tensors of the file are not part of the backbone, such as {dropped[0]}",) if dropped else ()
    return OpenedModel(module.eval(), None, notes)
