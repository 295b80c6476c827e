from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_files import alive, export, helper, model, onnx, rand, small, tensor
from torch import nn

from benchmark.models import backbones
from benchmark.models.graph_network import GraphNetwork
from benchmark.models.normalisation import fold
from benchmark.models.onnx_network import read_onnx, read_onnx_file
from benchmark.models.onnx_wire import OnnxError


def reference(proto, images: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(proto).run(None, {"x": images})[0]


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def agrees(proto, tolerance: float = 1e-5) -> GraphNetwork:
    network = read_onnx(proto.SerializeToString())
    height, width = network.size
    images = torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    fixed = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    given = images.permute(0, 2, 3, 1) if proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value == 3 else images
    if fixed:
        theirs = np.concatenate([reference(proto, image[None].numpy()) for image in given])
    else:
        theirs = reference(proto, given.numpy())
    with torch.no_grad():
        ours = network.module()(images)
    assert relative(ours, torch.from_numpy(theirs).reshape(3, -1)) < tolerance
    return network


def test_small_network_of_real_layers():
    network = agrees(small())
    module = network.module()
    kinds = [type(layer) for layer in module.children()]
    assert {nn.Conv2d, nn.BatchNorm2d, nn.PReLU, nn.Linear} <= set(kinds)
    assert (network.batchnorms, network.folded, network.embedding_size, network.size) == (1, 0, 12, (16, 16))
    assert [step[0] for step in network.steps][:2] == ["c", "n"]
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    module(images).sum().backward()
    assert float(images.grad.abs().min(0).values.max()) > 0


OPERATORS = {
    "activations": [("Relu", {}), ("LeakyRelu", {"alpha": 0.2}), ("Elu", {}), ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {})],
    "hard": [
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("Softplus", {}),
        ("Softmax", {"axis": -1}),
        ("Erf", {}),
        ("Neg", {}),
    ],
    "pools": [("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})],
    "average": [("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Transpose", {"perm": [0, 1, 3, 2]})],
    "uneven": [("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"})],
}


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operators_agree_with_the_reference(name):
    nodes, last = [], "x"
    for number, (kind, attributes) in enumerate(OPERATORS[name]):
        nodes.append(helper.make_node(kind, [last], [f"v{number}"], **attributes))
        last = f"v{number}"
    agrees(model([*nodes, helper.make_node("Flatten", [last], ["y"])], []))


def test_shapes_computed_from_the_batch():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"]),
        helper.make_node("Unsqueeze", ["b", "axis"], ["b1"]),
        helper.make_node("Concat", ["b1", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    zero, axis, minus = np.array(0), np.array([0]), np.array([-1])
    agrees(model(nodes, [tensor("zero", zero), tensor("axis", axis), tensor("minus", minus), tensor("w", rand(768, 9))]))


def test_fixed_batch_of_one_is_freed():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    agrees(model(nodes, [tensor("s", np.array([1, 768])), tensor("w", rand(768, 9))], (1, 3, 16, 16)))


def test_slices_splits_and_reductions():
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axes", "steps"], ["sliced"]),
        helper.make_node("Split", ["sliced", "parts"], ["a", "b"], axis=2),
        helper.make_node("Pad", ["a", "pads"], ["padded"]),
        helper.make_node("ReduceMean", ["padded"], ["m"], axes=[3], keepdims=0),
        helper.make_node("ReduceL2", ["b"], ["l"], axes=[3], keepdims=0),
        helper.make_node("Concat", ["m", "l"], ["both"], axis=2),
        helper.make_node("Flatten", ["both"], ["y"]),
    ]
    names = {"from": [2], "to": [14], "axes": [2], "steps": [2], "parts": [2, 4], "pads": [0, 0, 1, 2, 0, 0, 0, 1]}
    agrees(model(nodes, [tensor(name, np.array(value)) for name, value in names.items()]))


def test_weights_quantised_by_blocks_become_floats():
    quantised = np.random.default_rng(0).integers(-128, 127, (12, 8)).astype(np.int8)
    scales, zero = np.abs(rand(12, 2)) * 0.01, np.zeros((12, 2), np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1, block_size=4),
        helper.make_node("GlobalAveragePool", ["x"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "k"], ["h"]),
        helper.make_node("Gemm", ["h", "w"], ["y"], transB=1),
    ]
    tensors = [tensor("q", quantised), tensor("s", scales), tensor("z", zero), tensor("k", rand(3, 8))]
    network = read_onnx(model(nodes, tensors, opset=21).SerializeToString())
    wanted = quantised * np.repeat(scales, 4, 1)
    (weight,) = [value for name, value in network.state.items() if value.shape == (12, 8)]
    assert np.allclose(weight.numpy(), wanted, atol=1e-7)


def test_images_with_channels_last():
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), helper.make_node("Flatten", ["t"], ["f"])]
    agrees(model([*nodes, helper.make_node("MatMul", ["f", "w"], ["y"])], [tensor("w", rand(768, 9))], ("b", 16, 16, 3)))


def test_arithmetic_on_the_photo_says_how_it_is_fed():
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["n"]),
        helper.make_node("Flatten", ["n"], ["y"]),
    ]
    proto = model(nodes, [tensor("mean", np.float32([127.5])), tensor("scale", np.float32([1 / 128]))])
    factor, offset = agrees(proto).scaled
    assert (factor, offset) == pytest.approx((1 / 128, -127.5 / 128))


def test_two_outputs_need_a_name():
    proto = small()
    proto.graph.output.append(helper.make_tensor_value_info("f", 1, None))
    with pytest.raises(OnnxError, match="more than one could be"):
        read_onnx(proto.SerializeToString())
    assert read_onnx(proto.SerializeToString(), output="y").embedding_size == 12


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("free_batch", [False, True])
def test_exports_of_torch_agree(tmp_path: Path, dynamo: bool, free_batch: bool):
    torch.manual_seed(0)
    module = alive(backbones.create("iresnet_slim", {"input_size": [48, 48], "width": 0.125}))
    network = read_onnx_file(export(module, tmp_path / "net.onnx", (48, 48), dynamo=dynamo, free_batch=free_batch))
    images = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        assert relative(network.module()(images), module(images)) < 1e-5
    assert 8 <= network.batchnorms < 31
    assert network.batchnorms + network.folded in (30, 31)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["iresnet18", "iresnet50", "iresnet100"])
def test_published_sizes_agree(tmp_path: Path, name: str, dynamo: bool):
    torch.manual_seed(0)
    module = alive(backbones.create(name))
    network = read_onnx_file(export(module, tmp_path / "net.onnx", (112, 112), dynamo=dynamo))
    images = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        assert relative(network.module()(images), module(images)) < 1e-5
    if name == "iresnet50" and not dynamo:
        assert (network.batchnorms, network.folded) == (26, 53)


@pytest.mark.parametrize(("name", "size"), [("vit_tiny_patch16_224", 32), ("convnext_atto", 64), ("ghostnet_050", 64)])
def test_networks_of_timm_agree(tmp_path: Path, name: str, size: int):
    torch.manual_seed(0)
    kwargs = {"img_size": size, "depth": 2} if name.startswith("vit") else {}
    module = alive(backbones.create(name, kwargs))
    network = read_onnx_file(export(module, tmp_path / "net.onnx", (size, size), dynamo=False))
    images = torch.rand(3, 3, size, size)
    with torch.no_grad():
        assert relative(network.module()(images), module(images)) < 1e-4


def test_folding_again_keeps_the_function(tmp_path: Path):
    torch.manual_seed(0)
    module = alive(backbones.create("iresnet_slim", {"input_size": [48, 48], "width": 0.125}))
    network = read_onnx_file(export(module, tmp_path / "net.onnx", (48, 48), dynamo=False)).module()
    images = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        before = network(images)
        assert relative(fold(network)(images), before) < 1e-5
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def test_tensors_beside_the_file_and_outside(tmp_path: Path):
    folder = tmp_path / "net"
    folder.mkdir()
    onnx.save_model(small(), folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    assert read_onnx_file(folder / "net.onnx").embedding_size == 12
    (folder / "net.data").rename(tmp_path / "net.data")
    for location in ("../net.data", str(tmp_path / "net.data")):
        proto = onnx.load(folder / "net.onnx", load_external_data=False)
        for item in proto.graph.initializer:
            item.external_data[0].value = location
        (folder / "other.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(OnnxError, match="outside the folder"):
            read_onnx_file(folder / "other.onnx")
    (folder / "net.data").symlink_to(tmp_path / "net.data")
    with pytest.raises(OnnxError, match="outside the folder"):
        read_onnx_file(folder / "net.onnx")
    with pytest.raises(OnnxError, match="as one file"):
        read_onnx((folder / "net.onnx").read_bytes())


def changed(change) -> bytes:
    proto = small()
    change(proto)
    return proto.SerializeToString()


def _twice(proto) -> None:
    proto.graph.node.append(helper.make_node("Relu", ["x"], ["c"]))


def _circle(proto) -> None:
    proto.graph.node[0].input[0] = "p"


def _bomb(proto) -> None:
    proto.graph.initializer.append(tensor("size", np.array([2**15, 2**15])))
    proto.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["big"]))
    proto.graph.node.append(helper.make_node("ReduceMean", ["big"], ["one"], keepdims=0))
    proto.graph.node.append(helper.make_node("Add", ["f", "one"], ["f2"]))
    proto.graph.node[4].input[0] = "f2"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p: setattr(p.graph.node[2], "op_type", "GridSample"), r"'GridSample' \(1 times\)"),
        (lambda p: setattr(p.graph.node[2], "domain", "com.microsoft"), r"com\.microsoft::PRelu"),
        (lambda p: setattr(p.graph.node[2], "op_type", "QuantizeLinear"), "pass no gradient"),
        (lambda p: p.graph.initializer.pop(0), "nothing gives it"),
        (lambda p: setattr(p.graph.initializer[0], "raw_data", b"1234"), "holds 4 bytes"),
        (lambda p: p.graph.initializer.append(p.graph.initializer[0]), "twice"),
        (lambda p: p.graph.initializer[0].dims.__setitem__(0, 2**40), "declares shape"),
        (lambda p: p.graph.initializer[0].dims.__setitem__(0, 16), "holds 864 bytes"),
        (lambda p: setattr(p.graph.node[4].attribute[0], "i", 0), "does not fit"),
        (_twice, "given twice"),
        (_circle, "reads what depends on it"),
        (_bomb, "far more numbers than the file holds|numbers, too many"),
        (lambda p: p.graph.ClearField("node"), "no operators"),
    ],
)  # fmt: skip
def test_refused_with_a_reason(change, text):
    with pytest.raises(OnnxError, match=text):
        read_onnx(changed(change))


def test_empty_nodes_are_counted_before_they_take_memory():
    graph = b"\x0a\x00" * 400_000
    length = len(graph)
    varint = b""
    while length:
        varint += bytes([(length & 0x7F) | (0x80 if length > 0x7F else 0)])
        length >>= 7
    with pytest.raises(OnnxError, match="more than"):
        read_onnx(b"\x3a" + varint + graph)


def mutated(data: bytes, seed: int) -> bytes:
    """Bytes overwritten, cut out, doubled, or the end cut off."""
    generator = np.random.default_rng(seed)
    array = bytearray(data)
    for _ in range(int(generator.integers(1, 6))):
        place, kind = int(generator.integers(len(array))), int(generator.integers(4))
        if kind == 0:
            array[place] = int(generator.integers(256))
        elif kind == 1:
            del array[place : place + int(generator.integers(1, 9))]
        elif kind == 2:
            array[place:place] = array[place : place + int(generator.integers(1, 65))]
        elif generator.integers(8) == 0:
            del array[place:]
        array = array or bytearray(b"\0")
    return bytes(array)


def survives(data: bytes, seeds: range) -> int:
    """How many mutations are read; the others are refused, and nothing else happens."""
    read = 0
    for seed in seeds:
        try:
            read_onnx(mutated(data, seed))
            read += 1
        except OnnxError:
            continue
    return read


def structure_only(proto) -> bytes:
    """The same network with few numbers, so that most mutations meet its structure."""
    for item in proto.graph.initializer:
        if item.name == "fc.weight":
            item.CopyFrom(tensor("fc.weight", rand(12, 8)))
    proto.graph.node[3].CopyFrom(helper.make_node("GlobalAveragePool", ["p"], ["g"]))
    proto.graph.node.insert(4, helper.make_node("Flatten", ["g"], ["f"]))
    return proto.SerializeToString()


def test_two_hundred_mutated_files():
    assert 0 < survives(structure_only(small()), range(200)) < 200


@pytest.mark.slow
def test_thousands_of_mutated_files():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 0 < survives(structure_only(small()), range(1_000, 11_000)) < 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kilobytes
