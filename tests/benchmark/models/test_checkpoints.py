from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
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


def published_ir_se_50(base: int = 64, embedding: int = 512) -> Shapes:
    """Names and shapes of InsightFace_Pytorch's IR-SE-50."""
    shapes: Shapes = {"input_layer.0.weight": (base, 3, 3, 3), "input_layer.2.weight": (base,)} | norm("input_layer.1", base)
    inputs, number = base, 0
    for stage, count in enumerate((3, 4, 14, 3)):
        channels = base * 2**stage
        for _ in range(count):
            body = f"body.{number}.res_layer"
            shapes |= norm(f"{body}.0", inputs) | norm(f"{body}.4", channels) | {f"{body}.2.weight": (channels,)}
            shapes |= {f"{body}.1.weight": (channels, inputs, 3, 3), f"{body}.3.weight": (channels, channels, 3, 3)}
            hidden = max(1, channels // 16)
            shapes |= {f"{body}.5.fc1.weight": (hidden, channels, 1, 1), f"{body}.5.fc2.weight": (channels, hidden, 1, 1)}
            if inputs != channels:
                shortcut = f"body.{number}.shortcut_layer"
                shapes |= {f"{shortcut}.0.weight": (channels, inputs, 1, 1)} | norm(f"{shortcut}.1", channels)
            inputs, number = channels, number + 1
    shapes |= {"output_layer.3.weight": (embedding, 49 * inputs), "output_layer.3.bias": (embedding,)}
    return shapes | norm("output_layer.0", inputs) | norm("output_layer.4", embedding)


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
    "ir_se_50": published_ir_se_50(),
}
SMALL = {  # an eighth of the channels
    "mobilefacenet": published_mobilefacenet(8, 16),
    "iresnet18": published_iresnet((2, 2, 2, 2), 8, 16),
    "iresnet34": published_iresnet((3, 4, 6, 3), 8, 16),
    "iresnet50": published_iresnet((3, 4, 14, 3), 8, 16),
    "iresnet100": published_iresnet((3, 13, 30, 3), 8, 16),
    "ir_se_50": published_ir_se_50(8, 16),
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
    with pytest.raises(FaceVeilError, match="save only its weights"):
        import_checkpoint(save(tmp_path, backbones.create("iresnet_slim")))


def test_folded_batchnorm_is_refused(tmp_path, state):
    folded = {key: value for key, value in state.items() if key.split(".")[-1] not in ("running_mean", "running_var")}
    with pytest.raises(FaceVeilError, match="no BatchNorm statistics"):
        import_checkpoint(save(tmp_path, folded))


def test_batchnorm_never_updated_is_refused_by_name(tmp_path, state):
    state["layer2.1.bn2.running_mean"].zero_()
    state["layer2.1.bn2.running_var"].fill_(1)
    with pytest.raises(FaceVeilError, match=r"layer2\.1\.bn2.*never updated"):
        import_checkpoint(save(tmp_path, state))


def test_unknown_layout_names_the_first_keys(tmp_path):
    strange = random_state({"stem.weight": (4, 3, 3, 3)} | norm("stem_bn", 4))
    with pytest.raises(FaceVeilError, match=r"stem\.weight.*Known: MobileFaceNet"):
        import_checkpoint(save(tmp_path, strange))


def test_unknown_depth_names_the_known_ones(tmp_path):
    with pytest.raises(FaceVeilError, match=r"1-1-1-1 .*3-13-30-3 \(iresnet100\)"):
        import_checkpoint(save(tmp_path, random_state(published_iresnet((1, 1, 1, 1), 8, 16))))


def test_ir_without_se_is_refused(tmp_path):
    plain = {key: shape for key, shape in SMALL["ir_se_50"].items() if ".res_layer.5." not in key}
    with pytest.raises(FaceVeilError, match="without squeeze-and-excitation"):
        import_checkpoint(save(tmp_path, random_state(plain)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("layer3.0.bn1.bias"), r"missing layer3\.0\.bn1\.bias"),
        (lambda s: s.update({"layer3.0.bn1.bias": torch.zeros(3)}), r"layer3\.0\.bn1\.bias is \(3,\), not \(16,\)"),
        (lambda s: s.update({"layer3.0.conv9.weight": torch.zeros(3, 3, 3, 3)}), r"unexpected layer3\.0\.conv9\.weight"),
        (lambda s: s["fc.bias"].fill_(float("nan")), r"fc\.bias is not finite"),
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
