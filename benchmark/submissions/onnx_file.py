"""The ``model.onnx`` of a submission: a network that nobody vouches for, as a card with its graph and named tensors."""

from __future__ import annotations

from torch import Tensor

from benchmark.interfaces import BackboneSpec
from benchmark.models.graph_network import NAME
from benchmark.models.onnx_network import read_onnx
from benchmark.models.onnx_wire import OnnxError
from benchmark.submissions.card import Card
from benchmark.submissions.package import ONNX, PackageFile
from benchmark.submissions.problems import MismatchError, Problem, WeightsError

_EXPORT = "Export the network as one float file: torch.onnx.export(..., dynamic_axes=..., external_data=False)."
_CARD = (
    f'Write "backbone": {{"name": "{NAME}", "kwargs": {{}}}} in card.json, with the network\'s embedding_size and input.size.'
)


def read_network(source: PackageFile, card: Card) -> tuple[Card, dict[str, Tensor]]:
    """The card with the network's graph in it, and the network's tensors; nothing of the network is run.

    Raises:
        MismatchError: a card that names another backbone or other sizes.
        WeightsError: not an ONNX network, or one that is not read here.
    """
    if card.backbone.name != NAME or card.backbone.kwargs:
        message = f"{ONNX} brings its own architecture, but card.json names another, or gives it arguments."
        raise MismatchError([Problem(part="mismatch", code="onnx_backbone", message=message, remedy=_CARD)])
    try:
        network = read_onnx(source.read(), size=card.input.size, probe=False)
    except OnnxError as error:
        problem = Problem(part="weights", code="onnx", message=f"{ONNX}: {str(error)[:600]}", remedy=_EXPORT)
        raise WeightsError([problem]) from None
    if network.embedding_size != card.embedding_size:
        message = f"{ONNX} gives {network.embedding_size} numbers a photo, card.json says {card.embedding_size}."
        raise MismatchError([Problem(part="mismatch", code="wrong_embedding_size", message=message, remedy=_CARD)])
    spec = BackboneSpec(name=NAME, kwargs=network.kwargs)
    return card.model_copy(update={"backbone": spec}), network.state
