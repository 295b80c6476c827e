"""A public network as one of our backbones with its weights, and the ways in which networks are fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.protocol.track import InputSpec

Order = Literal["RGB", "BGR"]
# How published face-recognition networks are fed: mean and standard deviation on images in [0, 1].
NORMALISATIONS: dict[str, dict[str, tuple[float, float, float]]] = {
    "centred": {"mean": (0.5,) * 3, "std": (0.5,) * 3},  # (x - 127.5) / 127.5
    "centred128": {"mean": (0.5,) * 3, "std": (128 / 255,) * 3},  # (x - 127.5) / 128
    "unit": {"mean": (0.0,) * 3, "std": (1.0,) * 3},  # x / 255
    "bytes": {"mean": (0.0,) * 3, "std": (1 / 255,) * 3},  # x from 0 to 255
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}


def input_spec(normalisation: str, size: tuple[int, int], order: Order = "RGB") -> InputSpec:
    """The input of a network, by the name of its normalisation.

    Raises:
        FaceVeilError: an unknown name.
    """
    if normalisation not in NORMALISATIONS:
        raise FaceVeilError(f"unknown normalisation {normalisation!r}; one of {', '.join(NORMALISATIONS)}.")
    return InputSpec(size=size, order=order, **NORMALISATIONS[normalisation])


@dataclass(frozen=True)
class Fed:
    """What a user says about how a network is fed; None: what its layout says."""

    normalisation: str | None = None
    order: Order | None = None
    size: tuple[int, int] | None = None
    output: str | None = None  # of an ONNX file: which output is the embedding

    def applied(self, spec: InputSpec) -> InputSpec:
        """``spec`` with what the user said in its place."""
        changes: dict[str, Any] = {} if self.normalisation is None else dict(NORMALISATIONS[self.normalisation])
        if self.order is not None:
            changes["order"] = self.order
        return spec.model_copy(update=changes)


@dataclass(frozen=True)
class Imported:
    """Weights of a public network as weights of one of our backbones; ``notes`` says what was done to get there.

    ``guessed`` says that the file leaves open how photos are to be normalised, and that the usual way was taken.
    """

    backbone_name: str
    kwargs: Mapping[str, Any]
    state_dict: dict[str, Tensor]
    input: InputSpec
    embedding_size: int
    layout: str
    file_sha256: str
    notes: tuple[str, ...]
    guessed: bool = False
    batchnorms: tuple[int, int] = field(default=(0, 0))  # that are left, of how many

    @property
    def spec(self) -> BackboneSpec:
        """Name and arguments of the backbone."""
        return BackboneSpec(name=self.backbone_name, kwargs=self.kwargs)

    def backbone(self) -> nn.Module:
        """The backbone with these weights, in evaluation mode."""
        backbone = create(self.backbone_name, self.kwargs)
        backbone.load_state_dict(self.state_dict)
        return backbone.eval()
