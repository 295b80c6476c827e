from __future__ import annotations

import argparse
import datetime
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from onnx_files import small
from safetensors.torch import save_file

from benchmark.interfaces import FaceVeilError
from benchmark.models import backbones
from benchmark.models.checkpoints import import_checkpoint

NORM = ("weight", "bias", "running_mean", "running_var")
Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in NORM} | {f"{name}.num_batches_tracked": ()}


def published_mobilefacenet(base: int = 64, embedding: int = 128, last_map: tuple[int, int] = (7, 6)) -> Shapes:
    """Names and shapes of the Xiaoccer layout, in units of its 64 first channels."""
    shapes: Shapes = {"conv1.conv.weight": (base, 3, 3, 3), "conv1.prelu.weight": (base,)} | norm("conv1.bn", base)
    shapes |= {"dw_conv1.conv.weight": (base, 1, 3, 3), "dw_conv1.prelu.weight": (base,)} | norm("dw_conv1.bn", base)
    inputs, number = base, 0
    for expansion, outputs, repeats in ((2, 1, 5), (4, 2, 1), (2, 2, 6), (4, 2, 1), (2, 2, 2)):
        for _ in range(repeats):
            hidden, outs, block = inputs * expansion, outputs * base, f"blocks.{number}.conv"
            shapes |= {f"{block}.0.weight": (hidden, inputs, 1, 1), f"{block}.2.weight": (hidden,)}
            shapes |= {f"{block}.3.weight": (hidden, 1, 3, 3), f"{block}.5.weight": (hidden,)}
            shapes |= {f"{block}.6.weight": (outs, hidden, 1, 1)}
            shapes |= norm(f"{block}.1", hidden) | norm(f"{block}.4", hidden) | norm(f"{block}.7", outs)
            inputs, number = outs, number + 1
    last = 8 * base
    shapes |= {"conv2.conv.weight": (last, inputs, 1, 1), "conv2.prelu.weight": (last,)} | norm("conv2.bn", last)
    shapes |= {"linear7.conv.weight": (last, 1, *last_map)} | norm("linear7.bn", last)
    return shapes | {"linear1.conv.weight": (embedding, last, 1, 1)} | norm("linear1.bn", embedding)


def published_iresnet(blocks: tuple[int, ...], base: int = 64, embedding: int = 512, positions: int = 49) -> Shapes:
    """Names and shapes of InsightFace's arcface_torch."""
    shapes: Shapes = {"conv1.weight": (base, 3, 3, 3), "prelu.weight": (base,)} | norm("bn1", base)
    inputs = base
    for stage, count in enumerate(blocks, start=1):
        channels = base * 2 ** (stage - 1)
        for n in range(count):
            block = f"layer{stage}.{n}"
            shapes |= {f"{block}.conv1.weight": (channels, inputs, 3, 3), f"{block}.conv2.weight": (channels, channels, 3, 3)}
            shapes |= {f"{block}.prelu.weight": (channels,)} | norm(f"{block}.bn1", inputs)
            shapes |= norm(f"{block}.bn2", channels) | norm(f"{block}.bn3", channels)
            if n == 0:
                shapes |= {f"{block}.downsample.0.weight": (channels, inputs, 1, 1)} | norm(f"{block}.downsample.1", channels)
            inputs = channels
    shapes |= norm("bn2", inputs) | {"fc.weight": (embedding, positions * inputs), "fc.bias": (embedding,)}
    return shapes | norm("features", embedding)


def published_ir(
    blocks: tuple[int, ...] = (3, 4, 14, 3),
    base: int = 64,
    embedding: int = 512,
    se: bool = True,
    middle: bool = False,
    narrow: bool = False,
) -> Shapes:
    """Names and shapes of InsightFace_Pytorch's IR and IR-SE; with ``middle`` those of AdaFace and CVLface, whose deepest ones
    have ``narrow`` convolutions inside.
    """
    shapes: Shapes = {"input_layer.0.weight": (base, 3, 3, 3), "input_layer.2.weight": (base,)} | norm("input_layer.1", base)
    inputs, number = base, 0
    for stage, count in enumerate(blocks):
        inner = base * 2**stage
        channels = 4 * inner if narrow else inner
        for _ in range(count):
            body = f"body.{number}.res_layer"
            act, second, last = (3, 4, 8) if narrow else (3, 4, 5) if middle else (2, 3, 4)
            kernel = 1 if narrow else 3
            shapes |= norm(f"{body}.0", inputs) | norm(f"{body}.{last}", channels) | {f"{body}.{act}.weight": (inner,)}
            shapes |= {f"{body}.1.weight": (inner, inputs, kernel, kernel), f"{body}.{second}.weight": (inner, inner, 3, 3)}
            if middle:
                shapes |= norm(f"{body}.2", inner)
            if narrow:
                shapes |= norm(f"{body}.5", inner) | {f"{body}.6.weight": (inner,), f"{body}.7.weight": (channels, inner, 1, 1)}
            if se:
                hidden = max(1, channels // 16)
                shapes |= {f"{body}.5.fc1.weight": (hidden, channels, 1, 1), f"{body}.5.fc2.weight": (channels, hidden, 1, 1)}
            if inputs != channels:
                shortcut = f"body.{number}.shortcut_layer"
                shapes |= {f"{shortcut}.0.weight": (channels, inputs, 1, 1)} | norm(f"{shortcut}.1", channels)
            inputs, number = channels, number + 1
    shapes |= {"output_layer.3.weight": (embedding, 49 * inputs), "output_layer.3.bias": (embedding,)}
    shapes |= norm("output_layer.0", inputs)
    last_norm = norm("output_layer.4", embedding)
    return shapes | (
        {k: v for k, v in last_norm.items() if k.split(".")[-1] not in ("weight", "bias")} if middle else last_norm
    )


def _block(name: str, inputs: int, outputs: int, kernel: tuple[int, int], groups: int = 1, act: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.conv.weight": (outputs, inputs // groups, *kernel)} | norm(f"{name}.bn", outputs)
    return shapes | ({f"{name}.prelu.weight": (outputs,)} if act else {})


def _deep(name: str, inputs: int, outputs: int, hidden: int) -> Shapes:
    shapes = _block(f"{name}.conv", inputs, hidden, (1, 1)) | _block(f"{name}.conv_dw", hidden, hidden, (3, 3), hidden)
    return shapes | _block(f"{name}.project", hidden, outputs, (1, 1), act=False)


def published_mobilefacenet_irse(base: int = 64, embedding: int = 512) -> Shapes:
    """Names and shapes of InsightFace_Pytorch's MobileFaceNet."""
    b = base
    shapes = _block("conv1", 3, b, (3, 3)) | _block("conv2_dw", b, b, (3, 3), b) | _deep("conv_23", b, b, 2 * b)
    shapes |= _deep("conv_34", b, 2 * b, 4 * b) | _deep("conv_45", 2 * b, 2 * b, 8 * b)
    for name, count, channels, hidden in (("conv_3", 4, b, 2 * b), ("conv_4", 6, 2 * b, 4 * b), ("conv_5", 2, 2 * b, 4 * b)):
        for n in range(count):
            shapes |= _deep(f"{name}.model.{n}", channels, channels, hidden)
    shapes |= _block("conv_6_sep", 2 * b, 8 * b, (1, 1)) | _block("conv_6_dw", 8 * b, 8 * b, (7, 7), 8 * b, act=False)
    return shapes | {"linear.weight": (embedding, 8 * b)} | norm("bn", embedding)


def _row(name: str, inputs: int, outputs: int, kernel: tuple[int, int], groups: int = 1, act: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.layers.0.weight": (outputs, inputs // groups, *kernel)} | norm(f"{name}.layers.1", outputs)
    return shapes | ({f"{name}.layers.2.weight": (outputs,)} if act else {})


def _rows(name: str, inputs: int, outputs: int, hidden: int) -> Shapes:
    shapes = _row(f"{name}.layers.0", inputs, hidden, (1, 1)) | _row(f"{name}.layers.1", hidden, hidden, (3, 3), hidden)
    return shapes | _row(f"{name}.layers.2", hidden, outputs, (1, 1), act=False)


def published_mobilefacenet_arcface(
    blocks: tuple[int, ...] = (1, 4, 6, 2), scale: int = 2, base: int = 64, embedding: int = 512
) -> Shapes:
    """Names and shapes of arcface_torch's mbf (and, with other blocks and scale, of its large one)."""
    narrow, broad, last = base * scale, 2 * base * scale, 8 * base
    shapes = _row("layers.0", 3, narrow, (3, 3))
    if blocks[0] == 1:
        shapes |= _row("layers.1", narrow, narrow, (3, 3), base)
    shapes |= _rows("layers.2", narrow, narrow, 2 * base) | _rows("layers.4", narrow, broad, 4 * base)
    shapes |= _rows("layers.6", broad, broad, 8 * base)
    stages = (
        (1, blocks[0] if blocks[0] > 1 else 0, narrow, 2),
        (3, blocks[1], narrow, 2),
        (5, blocks[2], broad, 4),
        (7, blocks[3], broad, 4),
    )
    for place, count, channels, hidden in stages:
        for n in range(count):
            shapes |= _rows(f"layers.{place}.layers.{n}", channels, channels, hidden * base)
    shapes |= _row("conv_sep", broad, last, (1, 1)) | _row("features.layers.0", last, last, (7, 7), last, act=False)
    return shapes | {"features.layers.2.weight": (embedding, last)} | norm("features.layers.3", embedding)


def _inception(name: str, inputs: int, outputs: int, kernel: tuple[int, int]) -> Shapes:
    return {f"{name}.conv.weight": (outputs, inputs, *kernel)} | norm(f"{name}.bn", outputs)


def published_inception() -> Shapes:
    """Names and shapes of facenet-pytorch's InceptionResnetV1."""
    one, three = (1, 1), (3, 3)
    shapes: Shapes = {}
    for name, inputs, outputs, kernel in (
        ("1a", 3, 32, three), ("2a", 32, 32, three), ("2b", 32, 64, three),
        ("3b", 64, 80, one), ("4a", 80, 192, three), ("4b", 192, 256, three),
    ):  # fmt: skip
        shapes |= _inception(f"conv2d_{name}", inputs, outputs, kernel)
    for n in range(5):
        for branch, kernels in (("branch1", (one, three)), ("branch2", (one, three, three))):
            for k, kernel in enumerate(kernels):
                shapes |= _inception(f"repeat_1.{n}.{branch}.{k}", 256 if k == 0 else 32, 32, kernel)
        shapes |= _inception(f"repeat_1.{n}.branch0", 256, 32, one)
        shapes |= {f"repeat_1.{n}.conv2d.weight": (256, 96, 1, 1), f"repeat_1.{n}.conv2d.bias": (256,)}
    long = [(f"repeat_2.{n}", 896, 128, 256, 7) for n in range(10)] + [(f"repeat_3.{n}", 1792, 192, 384, 3) for n in range(5)]
    for name, channels, hidden, joined, side in [*long, ("block8", 1792, 192, 384, 3)]:
        shapes |= _inception(f"{name}.branch0", channels, hidden, one)
        for k, kernel in enumerate((one, (1, side), (side, 1))):
            shapes |= _inception(f"{name}.branch1.{k}", channels if k == 0 else hidden, hidden, kernel)
        shapes |= {f"{name}.conv2d.weight": (channels, joined, 1, 1), f"{name}.conv2d.bias": (channels,)}
    shapes |= _inception("mixed_6a.branch0", 256, 384, three)
    for name, channels in (("mixed_6a.branch1", (256, 192, 192, 256)), ("mixed_7a.branch0", (896, 256, 384))):
        for k in range(len(channels) - 1):
            shapes |= _inception(f"{name}.{k}", channels[k], channels[k + 1], one if k == 0 else three)
    for name, channels in (("mixed_7a.branch1", (896, 256, 256)), ("mixed_7a.branch2", (896, 256, 256, 256))):
        for k in range(len(channels) - 1):
            shapes |= _inception(f"{name}.{k}", channels[k], channels[k + 1], one if k == 0 else three)
    return shapes | {"last_linear.weight": (512, 1792)} | norm("last_bn", 512)


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
        else:
            state[name] = torch.rand(shape, generator=generator) * 0.1 + 0.05
    return state


PUBLISHED = {
    "mobilefacenet": published_mobilefacenet(last_map=(7, 7)),
    "iresnet18": published_iresnet((2, 2, 2, 2)),
    "iresnet34": published_iresnet((3, 4, 6, 3)),
    "iresnet50": published_iresnet((3, 4, 14, 3)),
    "iresnet100": published_iresnet((3, 13, 30, 3)),
    "iresnet200": published_iresnet((6, 26, 60, 6)),
    "ir_se_50": published_ir(),
    "ir_se_100": published_ir((3, 13, 30, 3)),
    "ir_se_152": published_ir((3, 8, 36, 3)),
    "ir_50": published_ir(se=False),
    "ir_100": published_ir((3, 13, 30, 3), se=False),
    "ir_152": published_ir((3, 8, 36, 3), se=False),
    "mobilefacenet_irse": published_mobilefacenet_irse(),
    "mobilefacenet_arcface": published_mobilefacenet_arcface(),
    "inception_resnet_face": published_inception(),
}
SMALL = {  # an eighth of the channels
    "mobilefacenet": published_mobilefacenet(8, 16),
    "iresnet18": published_iresnet((2, 2, 2, 2), 8, 16),
    "iresnet34": published_iresnet((3, 4, 6, 3), 8, 16),
    "iresnet50": published_iresnet((3, 4, 14, 3), 8, 16),
    "iresnet100": published_iresnet((3, 13, 30, 3), 8, 16),
    "iresnet200": published_iresnet((6, 26, 60, 6), 8, 16),
    "ir_se_50": published_ir(base=8, embedding=16),
    "ir_se_100": published_ir((3, 13, 30, 3), 8, 16),
    "ir_se_152": published_ir((3, 8, 36, 3), 8, 16),
    "ir_50": published_ir(base=8, embedding=16, se=False),
    "ir_100": published_ir((3, 13, 30, 3), 8, 16, se=False),
    "ir_152": published_ir((3, 8, 36, 3), 8, 16, se=False),
    "mobilefacenet_irse": published_mobilefacenet_irse(8, 16),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_backbones_have_the_published_names_and_shapes(name):
    with torch.device("meta"):
        state = backbones.create(name).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_layout_is_recognised_and_every_value_kept(tmp_path: Path, name: str, suffix: str):
    state = random_state(SMALL[name])
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    imported = import_checkpoint(path)
    size = (112, 96) if name == "mobilefacenet" else (112, 112)
    assert imported.backbone_name == name
    assert imported.kwargs == {"width": 0.125, "embedding_size": 16, "input_size": list(size)}
    assert imported.input.size == size
    assert imported.input.std == pytest.approx([128 / 255 if name == "mobilefacenet" else 0.5] * 3)
    assert set(imported.state_dict) == set(state)
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)
    assert imported.notes == ()
    assert imported.backbone()(torch.zeros(1, 3, *size)).shape == (1, 16)


def save(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return random_state(SMALL["iresnet18"])


def test_nesting_prefix_precision_and_head_are_stated(tmp_path, state):
    half = {f"module.{key}": value.half() if value.is_floating_point() else value for key, value in state.items()}
    half["module.head.weight"] = torch.randn(40, 16)
    imported = import_checkpoint(save(tmp_path, {"epoch": 3, "state_dict": half, "optimizer": {"lr": 0.1}}))
    assert set(imported.state_dict) == set(state)
    assert imported.state_dict["fc.weight"].dtype == torch.float32
    text = "\n".join(imported.notes)
    for part in ("'state_dict'", "epoch, optimizer", "'module.'", "head.weight (40, 16)", "classification layer", "float32"):
        assert part in text


def test_files_from_before_batch_counters(tmp_path, state):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    imported = import_checkpoint(save(tmp_path, old))
    assert set(imported.state_dict) == set(state)
    assert any("batch counters" in note for note in imported.notes)


def test_git_lfs_pointer_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4\n")
    with pytest.raises(FaceVeilError, match="git lfs pull"):
        import_checkpoint(path)


class Malicious:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_pickle_with_code_is_refused_and_never_run(tmp_path, state):
    marker = tmp_path / "ran"
    with pytest.raises(FaceVeilError, match="code in a file is never run"):
        import_checkpoint(save(tmp_path, state | {"extra": Malicious(str(marker))}))
    assert not marker.exists()


def test_whole_pickled_module_is_refused(tmp_path):
    with pytest.raises(FaceVeilError, match=r"save its weights: net = torch.load"):
        import_checkpoint(save(tmp_path, backbones.create("iresnet_slim")))


def test_folded_batchnorm_is_refused(tmp_path, state):
    folded = {key: value for key, value in state.items() if key.split(".")[-1] not in ("running_mean", "running_var")}
    with pytest.raises(FaceVeilError, match="left out or folded"):
        import_checkpoint(save(tmp_path, folded))


def test_batchnorm_never_updated_is_refused_by_name(tmp_path, state):
    state["layer2.1.bn2.running_mean"].zero_()
    state["layer2.1.bn2.running_var"].fill_(1)
    with pytest.raises(FaceVeilError, match=r"layer2\.1\.bn2.*never updated"):
        import_checkpoint(save(tmp_path, state))


def test_a_matrix_inside_a_block_is_no_classification_layer(tmp_path):
    """A ViT whose attention has a layer of its own is another network, though the layer is as wide as the embedding."""
    state = random_state(published_vit(8, 12, 32, 4, 32, masked=False)) | {"blocks.3.attn.gate.weight": torch.zeros(32, 32)}
    with pytest.raises(FaceVeilError, match=r"unexpected blocks\.3\.attn\.gate\.weight.*export it to ONNX"):
        import_checkpoint(save(tmp_path, state))


def test_networks_that_read_keypoints_are_refused(tmp_path):
    """CVLface's ViT with KP-RPE: the names of its plain ViT, and what turns keypoints into positions."""
    state = random_state(published_vit(8, 12, 32, 5, 24, masked=True))
    state |= {"keypoint_linear.weight": torch.zeros(12 * 8 * 25, 10), "keypoint_linear.bias": torch.zeros(12 * 8 * 25)}
    with pytest.raises(FaceVeilError, match=r"KP-RPE.*Export it to ONNX with the keypoints"):
        import_checkpoint(save(tmp_path, {f"net.{name}": value for name, value in state.items()}))


def test_unknown_layout_names_the_first_keys(tmp_path):
    strange = random_state({"stem.weight": (4, 3, 3, 3)} | norm("stem_bn", 4))
    with pytest.raises(FaceVeilError, match=r"stem\.weight.*Known: MobileFaceNet"):
        import_checkpoint(save(tmp_path, strange))


def test_unknown_depth_names_the_known_ones(tmp_path):
    with pytest.raises(FaceVeilError, match=r"1-1-1-1 .*3-13-30-3 \(iresnet100\)"):
        import_checkpoint(save(tmp_path, random_state(published_iresnet((1, 1, 1, 1), 8, 16))))


@pytest.mark.parametrize(("prefix", "order"), [("model.", "BGR"), ("net.", "RGB"), ("model.net.", "RGB"), ("", "BGR")])
@pytest.mark.parametrize(("name", "blocks"), [("ir_18", (2, 2, 2, 2)), ("ir_50", (3, 4, 14, 3)), ("ir_100", (3, 13, 30, 3))])
def test_adaface_and_cvlface(tmp_path, name, blocks, prefix, order):
    state = random_state(published_ir(blocks, 8, 16, se=False, middle=True))
    given = {f"{prefix}{key}": value for key, value in state.items()} | {
        "head.kernel": torch.zeros(16, 40),
        "head.t": torch.zeros(1),
    }
    imported = import_checkpoint(save(tmp_path, {"state_dict": given, "hyper_parameters": {"lr": 0.1}}))
    assert (imported.backbone_name, imported.input.order) == (name, order)
    assert imported.kwargs["middle_norm"] is True
    assert imported.kwargs["affine"] is False
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)
    assert imported.backbone()(torch.zeros(1, 3, 112, 112)).shape == (1, 16)


@pytest.mark.parametrize(("name", "blocks"), [("ir_152", (3, 8, 36, 3)), ("ir_200", (3, 24, 36, 3))])
def test_the_deepest_of_adaface(tmp_path, name, blocks):
    """Their blocks have three convolutions, and the last map 2,048 channels."""
    state = random_state(published_ir(blocks, 8, 16, se=False, middle=True, narrow=True))
    imported = import_checkpoint(save(tmp_path, {"state_dict": {f"model.{key}": value for key, value in state.items()}}))
    assert (imported.backbone_name, imported.input.order) == (name, "BGR")
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)
    assert imported.backbone()(torch.zeros(1, 3, 112, 112)).shape == (1, 16)


def starting(shapes: Shapes, starts: dict[str, str]) -> Shapes:
    """The same shapes, names that start so starting otherwise."""
    found = {}
    for name, shape in shapes.items():
        start = next((s for s in starts if name.startswith(s)), None)
        found[name if start is None else starts[start] + name.removeprefix(start)] = shape
    return found


def frbench_ir(blocks: tuple[int, ...]) -> Shapes:
    """FRBench's IR: the blocks of arcface_torch between an input layer and two norms of its own."""
    starts = {"conv1.": "input_layer.0.", "bn1.": "input_layer.1.", "prelu.": "input_layer.2.", "bn2.": "bn_o1."}
    return starting(published_iresnet(blocks, 8, 16), starts | {"features.": "bn_o2."})


def frbench_ir_se(blocks: tuple[int, ...]) -> Shapes:
    """FRBench's IR-SE: the blocks of InsightFace_Pytorch, another name for what follows them."""
    return starting(
        published_ir(blocks, 8, 16), {"output_layer.0.": "bn2.", "output_layer.3.": "fc.", "output_layer.4.": "features."}
    )


def frbench_mobilefacenet() -> Shapes:
    """FRBench's MobileFaceNet without attention: that of InsightFace_Pytorch under longer names."""
    shapes = starting(
        published_mobilefacenet_irse(8, 16),
        {"conv_6_dw.": "output_layer.conv_dw.", "linear.": "output_layer.fc.", "bn.": "output_layer.bn."},
    )
    parts = {".conv.conv.": ".conv_expand.conv.", ".conv.bn.": ".conv_expand.bn.", ".conv.prelu.": ".conv_expand.prelu."}
    parts |= {".project.": ".conv_project.", ".model.": ".layers."}
    found = {}
    for name, shape in shapes.items():
        for old, new in parts.items():
            name = name.replace(old, new)
        found[name] = shape
    return found


FRBENCH = {
    "iresnet18": frbench_ir((2, 2, 2, 2)),
    "iresnet101": frbench_ir((3, 4, 23, 3)),
    "iresnet152": frbench_ir((3, 8, 36, 3)),
    "ir_se_18": frbench_ir_se((2, 2, 2, 2)),
    "ir_se_185": frbench_ir_se((3, 22, 33, 3)),
    "ir_se_200": frbench_ir_se((3, 24, 36, 3)),
    "mobilefacenet_irse": frbench_mobilefacenet(),
}


@pytest.mark.parametrize("name", sorted(FRBENCH))
def test_frbench_names_stand_for_ours(tmp_path, name):
    state = random_state(FRBENCH[name])
    imported = import_checkpoint(save(tmp_path, state))
    assert imported.backbone_name == name
    assert "FRBench" in imported.layout
    assert len(imported.state_dict) == len(state)
    assert sorted(t.sum().item() for t in imported.state_dict.values()) == sorted(t.sum().item() for t in state.values())
    assert imported.backbone()(torch.zeros(1, 3, 112, 112)).shape == (1, 16)


def test_a_tensor_beyond_the_renamed_ones_is_refused(tmp_path):
    """The MobileFaceNet with attention is another network."""
    state = random_state(frbench_mobilefacenet()) | {"conv_23.eca.conv.weight": torch.zeros(1, 1, 3)}
    with pytest.raises(FaceVeilError, match=r"unexpected conv_23\.eca\.conv\.weight"):
        import_checkpoint(save(tmp_path, state))


@pytest.mark.parametrize(("blocks", "scale"), [((1, 4, 6, 2), 2), ((2, 8, 12, 4), 4)])
def test_mobilefacenets_of_arcface_torch(tmp_path, blocks, scale):
    state = random_state(published_mobilefacenet_arcface(blocks, scale, 8, 16))
    imported = import_checkpoint(save(tmp_path, state))
    assert imported.backbone_name == "mobilefacenet_arcface"
    assert (imported.kwargs["blocks"], imported.kwargs["scale"], imported.kwargs["width"]) == (list(blocks), scale, 0.125)
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)


def test_facenet_pytorch_with_its_classes(tmp_path):
    state = {k: v * 0.02 if v.dim() == 4 else v for k, v in random_state(published_inception()).items()}
    head = {"logits.weight": torch.zeros(40, 512), "logits.bias": torch.zeros(40)}
    imported = import_checkpoint(save(tmp_path, state | head))
    assert (imported.backbone_name, imported.input.size) == ("inception_resnet_face", (160, 160))
    assert sum("classification layer" in note for note in imported.notes) == 2
    embedding = imported.backbone()(torch.rand(1, 3, 160, 160))
    assert float(embedding.norm()) == pytest.approx(1, abs=1e-4)


def published_vit(patch: int, depth: int, channels: int, ratio: int, embedding: int, masked: bool) -> Shapes:
    """Names and shapes of arcface_torch's and CVLface's ViT on 112 x 112."""
    places = (112 // patch) ** 2
    shapes: Shapes = {"patch_embed.proj.weight": (channels, 3, patch, patch), "patch_embed.proj.bias": (channels,)}
    shapes |= {"pos_embed": (1, places, channels)} | ({"mask_token": (1, 1, channels)} if masked else {})
    for n in range(depth):
        block, hidden = f"blocks.{n}", ratio * channels
        shapes |= {f"{block}.{norm}.{part}": (channels,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        shapes |= {f"{block}.attn.qkv.weight": (3 * channels, channels), f"{block}.attn.proj.weight": (channels, channels)}
        shapes |= {f"{block}.mlp.fc1.weight": (hidden, channels), f"{block}.mlp.fc2.weight": (channels, hidden)}
        shapes |= {
            f"{block}.attn.proj.bias": (channels,),
            f"{block}.mlp.fc1.bias": (hidden,),
            f"{block}.mlp.fc2.bias": (channels,),
        }
    shapes |= {"norm.weight": (channels,), "norm.bias": (channels,), "feature.0.weight": (channels, places * channels)}
    return shapes | norm("feature.1", channels) | {"feature.2.weight": (embedding, channels)} | norm("feature.3", embedding)


def vit_by_hand(state: dict[str, torch.Tensor], images: torch.Tensor, depth: int, heads: int) -> torch.Tensor:
    """The published forward pass, without any module."""

    def normed(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    kernel = state["patch_embed.proj.weight"]
    x = F.conv2d(images, kernel, state["patch_embed.proj.bias"], kernel.shape[-1]).flatten(2).mT + state["pos_embed"]
    for n in range(depth):
        q, k, v = (
            part.unflatten(2, (heads, -1)).transpose(1, 2)
            for part in linear(f"blocks.{n}.attn.qkv", normed(f"blocks.{n}.norm1", x)).chunk(3, 2)
        )
        seen = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + linear(f"blocks.{n}.attn.proj", seen.transpose(1, 2).flatten(2))
        x = x + linear(f"blocks.{n}.mlp.fc2", F.relu6(linear(f"blocks.{n}.mlp.fc1", normed(f"blocks.{n}.norm2", x))))
    x = normed("norm", x).flatten(1)
    for first, second in ((0, 1), (2, 3)):
        x = linear(f"feature.{first}", x)
        mean, var, weight, bias = (
            state[f"feature.{second}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, weight, bias, eps=2e-5)
    return x


@pytest.mark.parametrize(
    ("patch", "depth", "heads", "ratio", "masked", "prefix"),
    [(9, 12, 8, 4, True, ""), (9, 24, 8, 4, True, "module."), (8, 12, 8, 5, True, "net."), (8, 24, 16, 3, False, "model.net.")],
)
def test_vits_of_arcface_torch_and_cvlface(tmp_path, patch, depth, heads, ratio, masked, prefix):
    state = random_state(published_vit(patch, depth, 32, ratio, 24, masked))
    imported = import_checkpoint(save(tmp_path, {f"{prefix}{name}": value for name, value in state.items()}))
    assert imported.backbone_name == "face_vit"
    assert imported.kwargs["heads"] == heads
    assert (imported.input.size, imported.input.order, imported.batchnorms) == ((112, 112), "RGB", (2, 2))
    assert imported.state_dict.keys() == state.keys()
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)
    images = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        expected = vit_by_hand(state, images, depth, heads)
        torch.testing.assert_close(imported.backbone()(images), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_vit_whose_heads_nobody_knows_is_refused(tmp_path):
    with pytest.raises(FaceVeilError, match=r"a ViT of 6 blocks on patches of 8 pixels is not supported"):
        import_checkpoint(save(tmp_path, random_state(published_vit(8, 6, 32, 4, 24, masked=False))))


@pytest.mark.parametrize(
    ("variant", "ratio", "millions"),
    [
        ("edgenext_x_small", 0.6, 1.77),
        ("edgenext_small", 0.5, 3.65),
        ("edgenext_xx_small", 0, 1.24),
        ("edgenext_base", 0, 18.23),
    ],
)
def test_edgefaces_have_the_published_numbers_of_parameters(variant, ratio, millions):
    """Table of the published checkpoints: XS (0.6), S (0.5), XXS and base."""
    with torch.device("meta"):
        network = backbones.create("edgeface", {"variant": variant, "rank_ratio": ratio})
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("ratio", [0.0, 0.6])
def test_edgeface(tmp_path, ratio):
    network = backbones.create("edgeface", {"variant": "edgenext_xx_small", "rank_ratio": ratio, "embedding_size": 16})
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_mean"):
                value += 0.1
    imported = import_checkpoint(save(tmp_path, network.state_dict()))
    assert imported.kwargs["variant"] == "edgenext_xx_small"
    assert ("rank_ratio" in imported.kwargs) == bool(ratio)
    images = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        assert torch.allclose(imported.backbone()(images), network.eval()(images))


def _circle(state):
    content = {"model": state}
    content["itself"] = content
    return content


WRAPPINGS = {
    "backbone and head": lambda s: {f"backbone.{k}": v for k, v in s.items()} | {"head.weight": torch.zeros(40, 16)},
    "Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()} | {"head.kernel": torch.zeros(16, 40)}},
    "DataParallel around both": lambda s: (
        {f"module.backbone.{k}": v for k, v in s.items()} | {"module.head.weight": torch.zeros(40, 16)}
    ),
    "arcface_torch resumes": lambda s: {
        "epoch": 1,
        "state_dict_backbone": s,
        "state_dict_softmax_fc": {"weight": torch.zeros(40, 16)},
    },
    "nested deeper": lambda s: {
        "checkpoint": {"models": {"student": s}},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
    },
    "in a list": lambda s: [{"epoch": 3}, {"weights": s}],
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "compiled in DataParallel": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "one layer compiled": lambda s: {k.replace("layer1.0.", "layer1.0._orig_mod."): v for k, v in s.items()},
    "sharded, a stage recomputed": lambda s: {
        f"_fsdp_wrapped_module.{k}".replace("layer2.", "layer2._checkpoint_wrapped_module."): v for k, v in s.items()
    },
    "arrays instead": lambda s: {k: v.numpy() for k, v in s.items()},
    "in a circle": lambda s: _circle(s),
    "the same twice": lambda s: {"model": s, "best": dict(s)},
    "counters of one element": lambda s: {k: v.reshape(1) if k.endswith("num_batches_tracked") else v for k, v in s.items()},
    "dates beside": lambda s: {"net": s, "at": datetime.datetime(2026, 11, 27), "took": datetime.timedelta(hours=3)},
    "options beside": lambda s: {"args": argparse.Namespace(lr=0.1), "model": s, "path": Path("x"), "loss": np.float64(0.5)},
    "arrays beside": lambda s: {"net": s, "history": np.zeros(3), "labels": np.array([1, 2])},
}


@pytest.mark.parametrize("how", sorted(WRAPPINGS))
def test_weights_are_found_wherever_they_are(tmp_path, state, how):
    imported = import_checkpoint(save(tmp_path, WRAPPINGS[how](state)))
    assert all(torch.equal(imported.state_dict[key], state[key]) for key in state)


def test_moving_averages_are_preferred_and_two_networks_refused(tmp_path, state):
    other = {key: value + 1 for key, value in state.items()}
    imported = import_checkpoint(save(tmp_path, {"state_dict": other, "state_dict_ema": state}))
    assert torch.equal(imported.state_dict["fc.bias"], state["fc.bias"])
    assert any("moving average" in note for note in imported.notes)
    with pytest.raises(FaceVeilError, match=r"holds 2 networks.*teacher.*student"):
        import_checkpoint(save(tmp_path, {"teacher": other, "student": state}))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n <html>", "web page"),
        (b"Access denied\n", "a text, not weights"),
        (small().SerializeToString(), "ends in .onnx"),
        (safetensors.torch.save({"fc.weight": torch.zeros(9)})[:-5], "cut off or damaged: fetch it again"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\x12\x01" + bytes(64), "MXNet"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x93NUMPY" + bytes(64), "without names"),
        (b"PK\x03\x04broken", "cut off or damaged"),
        (b"<!-- sign in --><html>", "web page"),
        ("\ufeff<!DOCTYPE html>".encode("utf-16-le"), "web page"),
        (b'<?xml version="1.0"?><net name="x">', "OpenVINO"),
        (b"7767517\n75 83\nInput data 0 1", "ncnn"),
        (b'{"metadata": {}, "weight_map": {}}', "several files"),
        (pickle.dumps({"a": np.zeros(2)}, protocol=2), "no pickle of torch.save"),
        (pickle.dumps({"a": np.zeros(2)}, protocol=4), "no pickle of torch.save"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pt", "weights.params"])
def test_what_a_file_is_instead(tmp_path, content, text, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FaceVeilError, match=text):
        import_checkpoint(tmp_path / name)


def test_zip_archives_and_torchscript(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("weights.pt", b"x")
    with pytest.raises(FaceVeilError, match="a zip archive"):
        import_checkpoint(tmp_path / "net.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "net.pt")
    with pytest.raises(FaceVeilError, match="TorchScript"):
        import_checkpoint(tmp_path / "net.pt")
    (tmp_path / "NET.ONNX").write_bytes(b"\x08\x07")
    with pytest.raises(FaceVeilError, match="0 graphs"):
        import_checkpoint(tmp_path / "NET.ONNX")


def test_what_it_holds_counts_and_not_its_name(tmp_path, state):
    for name in ("renamed.safetensors", "Gewichte für Jürgen\nneu.pt"):
        torch.save(state, tmp_path / name)
        assert torch.equal(import_checkpoint(tmp_path / name).state_dict["fc.bias"], state["fc.bias"])
    (tmp_path / "net.pb").write_bytes(b"\n\x10\n\x04node")
    with pytest.raises(FaceVeilError, match="another framework"):
        import_checkpoint(tmp_path / "net.pb")


def _quantised(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_quantised, "quantised"),
        (lambda t: t.to_sparse(), "not dense"),
        (lambda t: t.to("meta"), "without numbers"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t.to(torch.float8_e4m3fn), "float8"),
        (lambda t: t.reshape(-1), "dimensions|is \\("),
    ],
)
@pytest.mark.parametrize("name", ["fc.weight", "layer1.0.conv1.weight"])
def test_odd_tensors_are_named(tmp_path, state, change, text, name):
    state[name] = change(state[name])
    with pytest.raises(FaceVeilError, match=text):
        import_checkpoint(save(tmp_path, state))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("layer3.0.bn1.bias"), r"missing layer3\.0\.bn1\.bias"),
        (lambda s: s.update({"layer3.0.bn1.bias": torch.zeros(3)}), r"layer3\.0\.bn1\.bias is \(3,\), not \(16,\)"),
        (lambda s: s.update({"layer3.0.conv9.weight": torch.zeros(3, 3, 3, 3)}), r"unexpected layer3\.0\.conv9\.weight"),
        (lambda s: s["fc.bias"].fill_(float("nan")), r"fc\.bias is not finite"),
        (lambda s: s.update({"fc.bias": s["fc.bias"].to(torch.int8)}), r"fc\.bias holds whole numbers \(int8\)"),
        (lambda s: s["bn2.running_var"].neg_(), r"bn2\.running_var holds negative variances"),
        (lambda s: s.update({"fc.weight": torch.zeros(16, 64 * 50)}), "50 positions"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, state, change, text):
    change(state)
    with pytest.raises(FaceVeilError, match=text):
        import_checkpoint(save(tmp_path, state))


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04broken"])
def test_files_that_are_no_weights(tmp_path, content):
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FaceVeilError, match=name):
            import_checkpoint(tmp_path / name)


def test_missing_file_list_and_empty_dictionary(tmp_path):
    with pytest.raises(FaceVeilError, match="no such file"):
        import_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(FaceVeilError, match="holds a list"):
        import_checkpoint(save(tmp_path, [torch.zeros(2)]))
    with pytest.raises(FaceVeilError, match="no tensors found"):
        import_checkpoint(save(tmp_path, {"epoch": 3}))


@pytest.mark.realdata
def test_public_mobilefacenet():
    folder = os.environ.get("FACEVEIL_TEST_DATA")
    path = Path(folder or "") / "mobilefacenet_casia.ckpt"
    if not folder or not path.is_file():
        pytest.skip("FACEVEIL_TEST_DATA has no mobilefacenet_casia.ckpt")
    imported = import_checkpoint(path)
    assert imported.kwargs == {"embedding_size": 128, "input_size": [112, 96]}
    assert len(imported.state_dict) == 333
    assert sum(key.endswith("running_mean") for key in imported.state_dict) == 50
    assert imported.input.std == pytest.approx([128 / 255] * 3)
