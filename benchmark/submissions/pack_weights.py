"""A submission from a file of weights that somebody trained with their own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.models.backbones import complete_kwargs, create, embedding_size
from benchmark.models.checkpoints import read_weights
from benchmark.models.normalisation import norm_kinds
from benchmark.protocol.track import InputSpec, Track
from benchmark.runtime.seeding import seeded
from benchmark.submissions.card import Card
from benchmark.submissions.submission import Submission, pack

_LISTED = 4  # names in a message


def pack_weights(
    weights: Path, out: Path, track: Track, *, backbone: BackboneSpec | None = None, fields: Mapping[str, Any] | None = None
) -> Submission:
    """Writes a submission folder with a card that fits the weights.

    Args:
        weights: a ``.safetensors`` file, or one that ``torch.save`` wrote of a ``state_dict()``; no code in it runs.
        track: gives the size of the photos and, without ``backbone``, the architecture.
        fields: more fields of the card, such as ``name``, ``team``, ``defenses`` or ``seed``.

    Raises:
        FaceVeilError: weights that are not those of this backbone, with the names that differ.
        SubmissionError: a card that contradicts itself, or weights with which nothing can be measured.
    """
    given = backbone or track.backbone
    size = (track.image_size, track.image_size)
    spec = BackboneSpec(name=given.name, kwargs=complete_kwargs(given.name, given.kwargs, size))
    with seeded(0):
        network = create(spec.name, spec.kwargs)
    network.load_state_dict(_fitting(read_weights(weights), network, spec.name, weights))
    height, width = spec.kwargs.get("input_size", size)
    input_spec = InputSpec(size=(height, width))
    values = {
        "name": weights.stem[:80],
        "track": track.name,
        "protocol_version": track.version,
        "defenses": (DefenseSpec(name="undefended"),),
        "backbone": spec,
        "norm": next(iter(sorted(norm_kinds(network))), "none"),
        "embedding_size": embedding_size(network, input_spec),
        "input": input_spec,
    }
    return pack(out, Card(**{**values, **(fields or {})}), network.eval())


def _fitting(state: Mapping[str, Tensor], network: nn.Module, name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of ``state`` that the network has; a count of batches that was not saved is taken from the network."""
    expected = network.state_dict()
    counters = {n: v for n, v in expected.items() if n.endswith("num_batches_tracked") and n not in state}
    missing = sorted(expected.keys() - state.keys() - counters.keys())
    extra = sorted(state.keys() - expected.keys())
    shapes = sorted(n for n in expected.keys() & state.keys() if expected[n].shape != state[n].shape)
    if missing or extra or shapes:
        problems = [
            f"{what}: {', '.join(names[:_LISTED])}{f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''}"
            for what, names in (("missing", missing), ("not in the backbone", extra), ("of another shape", shapes))
            if names
        ]
        raise FaceVeilError(
            f"{path} does not hold the weights of {name}: {'; '.join(problems)}. Save the network's own state_dict(), and "
            "name its architecture with --backbone and --backbone-set."
        )
    return {**counters, **{n: state[n] for n in expected if n in state}}
