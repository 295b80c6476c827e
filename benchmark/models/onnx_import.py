"""An ONNX file as a backbone: by its layout where its names still tell one, otherwise as the graph that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.models.graph_network import NAME
from benchmark.models.imported import Fed, Imported, input_spec
from benchmark.models.onnx_network import OnnxNetwork, read_onnx_file
from benchmark.protocol.track import InputSpec
from benchmark.runtime.memory import out_of_memory

SAME = 1e-3  # relative difference between a graph and the layout that its names fit
MOST_FACTOR = 0.1  # a graph that scales its input by less takes it from 0 to 255


def import_onnx(path: Path, sha256: str, fed: Fed, by_names: Callable[[Mapping[str, Tensor]], Imported | None]) -> Imported:
    """Reads an ONNX file.

    Args:
        by_names: finds the layout of named tensors, or None.

    Raises:
        FaceVeilError: a file that is not read here, and why.
    """
    network = read_onnx_file(path, fed.size, fed.output)
    known = by_names(network.constants)
    if known is not None and _agree(known, network):
        return known
    spec, guessed, how = _input_of(network)
    left, all_layers = network.batchnorms, network.batchnorms + network.folded
    notes = [*network.notes, f"read as a graph of {len(network.steps)} layers"]
    if all_layers:
        notes.append(f"{left} of {all_layers} BatchNorm layers are left; {network.folded} were folded into convolutions")
    else:
        notes.append("the network has no BatchNorm layer")
    return Imported(
        backbone_name=NAME,
        kwargs=network.kwargs,
        state_dict=network.state,
        input=fed.applied(spec),
        embedding_size=network.embedding_size,
        layout="ONNX graph",
        file_sha256=sha256,
        notes=(*notes, how),
        guessed=guessed and fed.normalisation is None,
        batchnorms=(left, all_layers),
    )


def _input_of(network: OnnxNetwork) -> tuple[InputSpec, bool, str]:
    """How photos are fed, whether that is a guess, and a note on it."""
    if network.scaled is None:
        note = "the file does not say how photos are normalised: (x - 127.5) / 127.5 in RGB is assumed"
        return input_spec("centred", network.size), True, note
    factor, offset = network.scaled
    name = "bytes" if abs(factor) < MOST_FACTOR else "unit"
    largest = 255 if name == "bytes" else 1
    note = f"the graph normalises photos itself (x * {factor:.4g} + {offset:.4g}): it takes numbers from 0 to {largest}"
    return input_spec(name, network.size), False, note


def _agree(known: Imported, network: OnnxNetwork) -> bool:
    """Whether the layout that the names fit computes what the graph computes."""
    if known.input.size != network.size:
        return False
    images = torch.rand(2, 3, *network.size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            ours, theirs = known.backbone()(images), network.module()(images)
    except (RuntimeError, FaceVeilError) as error:
        if out_of_memory(error):
            raise
        return False
    return ours.shape == theirs.shape and float((ours - theirs).norm()) <= SAME * float(theirs.norm())
