"""ONNX files for tests, written by the onnx package or by torch's exporters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def tensor(name: str, array: Any) -> Any:
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes: list[Any], tensors: list[Any], shape: Any = ("b", 3, 16, 16), opset: int = 17, output: str = "y") -> Any:
    """A network from "x" to one output."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small() -> Any:
    """Convolution, BatchNorm, PReLU, flatten, linear: 12 numbers from 16 x 16 pixels."""
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "n.weight", "n.bias", "n.running_mean", "n.running_var"], ["n"]),
        helper.make_node("PRelu", ["n", "slope"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    tensors = [
        tensor("c.weight", rand(8, 3, 3, 3)),
        tensor("n.weight", rand(8, seed=1)),
        tensor("n.bias", rand(8, seed=2)),
        tensor("n.running_mean", rand(8, seed=3)),
        tensor("n.running_var", np.abs(rand(8, seed=4)) + 0.5),
        tensor("slope", rand(8, 1, 1, seed=5)),
        tensor("fc.weight", rand(12, 512, seed=6) * 0.05),
        tensor("fc.bias", rand(12, seed=7)),
    ]
    return model(nodes, tensors)


def alive(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network whose norms are not those of initialisation."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.1, generator=generator)
            layer.num_batches_tracked.fill_(100)
    return network.eval()


def export(
    network: nn.Module, path: Path, size: tuple[int, int], *, dynamo: bool, free_batch: bool = True, **more: Any
) -> Path:
    """Writes a network with one of torch's two exporters."""
    images = torch.zeros(2 if free_batch else 1, 3, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            pytest.importorskip("onnxscript", reason="torch's newer exporter needs onnxscript")
            if torch.__version__.startswith("2.8."):
                pytest.skip("the newer exporter of torch 2.8 fails with the onnxscript that there is now")
            shapes = ({0: torch.export.Dim.DYNAMIC},) if free_batch else None
            torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=shapes, verbose=False, **more)
        else:
            axes = {"dynamic_axes": {"images": {0: "b"}}} if free_batch else {}
            torch.onnx.export(network, (images,), path, dynamo=False, input_names=["images"], **axes, **more)
    return path
