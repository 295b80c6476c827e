from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.interfaces import FaceVeilError
from benchmark.models import backbones
from benchmark.models.checkpoints import import_checkpoint

Shapes = dict[str, tuple[int, ...]]
State = dict[str, torch.Tensor]
# kernel, channels inside, channels, hidden channels of squeeze and excitation, stride: at width 1.3, by stages
WIDE = (
    ((3, 20, 20, 0, 1),), ((3, 64, 32, 0, 2),), ((3, 92, 32, 0, 1),), ((5, 92, 52, 24, 2),), ((5, 156, 52, 40, 1),),
    ((3, 312, 104, 0, 2),),
    ((3, 260, 104, 0, 1), (3, 240, 104, 0, 1), (3, 240, 104, 0, 1), (3, 624, 144, 156, 1), (3, 872, 144, 220, 1)),
    ((5, 872, 208, 220, 2),),
    ((5, 1248, 208, 0, 1), (5, 1248, 208, 312, 1), (5, 1248, 208, 0, 1), (5, 1248, 208, 312, 1)),
)  # fmt: skip
# the same at a tenth
NARROW = (
    ((3, 4, 4, 0, 1),), ((3, 8, 4, 0, 2),), ((3, 8, 4, 0, 1),), ((5, 8, 4, 4, 2),), ((5, 12, 4, 4, 1),),
    ((3, 24, 8, 0, 2),),
    ((3, 20, 8, 0, 1), (3, 20, 8, 0, 1), (3, 20, 8, 0, 1), (3, 48, 12, 12, 1), (3, 68, 12, 16, 1)),
    ((5, 68, 16, 16, 2),),
    ((5, 96, 16, 0, 1), (5, 96, 16, 24, 1), (5, 96, 16, 0, 1), (5, 96, 16, 24, 1)),
)  # fmt: skip


def normed(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def ghost(name: str, inputs: int, outputs: int, act: bool, attention: bool) -> Shapes:
    half = outputs // 2
    shapes: Shapes = {f"{name}.primary_conv.0.weight": (half, inputs, 1, 1)} | normed(f"{name}.primary_conv.1", half)
    shapes |= {f"{name}.cheap_operation.0.weight": (half, 1, 3, 3)} | normed(f"{name}.cheap_operation.1", half)
    if act:
        shapes |= {f"{name}.{part}.2.weight": (1,) for part in ("primary_conv", "cheap_operation")}
    if attention:
        for place, shape in ((0, (inputs, 1, 1)), (2, (1, 1, 5)), (4, (1, 5, 1))):
            shapes |= {f"{name}.short_conv.{place}.weight": (outputs, *shape)}
            shapes |= normed(f"{name}.short_conv.{place + 1}", outputs)
    return shapes


def published(stages, attention: bool, last: int, embedding: int) -> Shapes:
    """Names and shapes of the ports' GhostFaceNetsV1 and, with attention, GhostFaceNetsV2 on 112 x 112."""
    inputs = stages[0][0][1]
    shapes: Shapes = {"conv_stem.weight": (inputs, 3, 3, 3), "act1.weight": (1,)} | normed("bn1", inputs)
    for s, stage in enumerate(stages):
        for n, (kernel, hidden, outputs, squeezed, stride) in enumerate(stage):
            block = f"blocks.{s}.{n}"
            shapes |= ghost(f"{block}.ghost1", inputs, hidden, True, attention and s > 1)
            shapes |= ghost(f"{block}.ghost2", hidden, outputs, False, False)
            if stride > 1:
                shapes |= {f"{block}.conv_dw.weight": (hidden, 1, kernel, kernel)} | normed(f"{block}.bn_dw", hidden)
            if squeezed:
                shapes |= {f"{block}.se.conv_reduce.weight": (squeezed, hidden, 1, 1), f"{block}.se.act1.weight": (1,)}
                shapes |= {f"{block}.se.conv_reduce.bias": (squeezed,), f"{block}.se.conv_expand.bias": (hidden,)}
                shapes |= {f"{block}.se.conv_expand.weight": (hidden, squeezed, 1, 1)}
            if inputs != outputs or stride > 1:
                shortcut = f"{block}.shortcut"
                shapes |= {f"{shortcut}.0.weight": (inputs, 1, kernel, kernel)} | normed(f"{shortcut}.1", inputs)
                shapes |= {f"{shortcut}.2.weight": (outputs, inputs, 1, 1)} | normed(f"{shortcut}.3", outputs)
            inputs = outputs
    shapes |= {"blocks.9.0.conv.weight": (last, inputs, 1, 1), "blocks.9.0.act1.weight": (1,)} | normed("blocks.9.0.bn1", last)
    shapes |= {"classifier.conv_dw.weight": (last, 1, 4, 4)} | normed("classifier.bn1", last)
    return shapes | {"classifier.conv.weight": (embedding, last, 1, 1)} | normed("classifier.bn2", embedding)


def random_state(shapes: Shapes) -> State:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        fan = shape[1] * shape[2] * shape[3] if len(shape) == 4 else 1
        value = torch.rand(shape, generator=generator) + 0.1
        state[name] = (torch.randn(shape, generator=generator) / fan**0.5) if len(shape) == 4 else value
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
    return state


def by_hand(state: State, images: torch.Tensor, stages) -> torch.Tensor:
    """The ports' forward pass, without any module."""

    def bn(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias)

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel = state[f"{name}.weight"]
        padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
        return F.conv2d(x, kernel, state.get(f"{name}.bias"), stride, padding, groups=x.shape[1] // kernel.shape[1])

    def act(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, x * state[f"{name}.weight"]) if f"{name}.weight" in state else x

    def module(name: str, x: torch.Tensor) -> torch.Tensor:
        first, second = f"{name}.primary_conv", f"{name}.cheap_operation"
        a = act(f"{first}.2", bn(f"{first}.1", conv(f"{first}.0", x)))
        out = torch.cat([a, act(f"{second}.2", bn(f"{second}.1", conv(f"{second}.0", a)))], 1)
        if f"{name}.short_conv.0.weight" in state:
            gate = F.avg_pool2d(x, kernel_size=2, stride=2)
            for place in (0, 2, 4):
                gate = bn(f"{name}.short_conv.{place + 1}", conv(f"{name}.short_conv.{place}", gate))
            out = out * F.interpolate(gate.sigmoid(), size=(out.shape[-2], out.shape[-1]), mode="nearest")
        return out

    x = act("act1", bn("bn1", conv("conv_stem", images, 2)))
    for s, stage in enumerate(stages):
        for n, (*_, stride) in enumerate(stage):
            block = f"blocks.{s}.{n}"
            y = module(f"{block}.ghost1", x)
            if stride > 1:
                y = bn(f"{block}.bn_dw", conv(f"{block}.conv_dw", y, stride))
            if f"{block}.se.conv_reduce.weight" in state:
                weight = act(f"{block}.se.act1", conv(f"{block}.se.conv_reduce", y.mean((2, 3), keepdim=True)))
                y = y * F.relu6(conv(f"{block}.se.conv_expand", weight) + 3) / 6
            y = module(f"{block}.ghost2", y)
            if f"{block}.shortcut.0.weight" in state:
                x = bn(f"{block}.shortcut.1", conv(f"{block}.shortcut.0", x, stride))
                x = bn(f"{block}.shortcut.3", conv(f"{block}.shortcut.2", x))
            x = x + y
    x = act("blocks.9.0.act1", bn("blocks.9.0.bn1", conv("blocks.9.0.conv", x)))
    x = bn("classifier.bn1", F.conv2d(x, state["classifier.conv_dw.weight"], groups=x.shape[1]))
    return bn("classifier.bn2", conv("classifier.conv", x).flatten(1))


@pytest.mark.parametrize("attention", [False, True])
def test_the_ports_names_and_shapes(attention):
    with torch.device("meta"):
        state = backbones.create("ghostfacenet", {"attention": attention, "width": 1.3}).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == published(WIDE, attention, 1248, 512)


@pytest.mark.parametrize("attention", [False, True])
def test_a_checkpoint_computes_what_the_port_does(tmp_path, attention):
    state = random_state(published(NARROW, attention, 96, 24))
    classes = {"classifier.linear.weight": torch.zeros(40, 24), "classifier.linear.bias": torch.zeros(40)}
    torch.save({"model": {f"module.{name}": value for name, value in (state | classes).items()}}, tmp_path / "net.pt")
    imported = import_checkpoint(tmp_path / "net.pt")
    size = {"embedding_size": 24, "input_size": [112, 112]}
    assert (imported.backbone_name, imported.kwargs) == ("ghostfacenet", {"attention": attention, "width": 0.1} | size)
    assert (imported.input.size, imported.input.order) == ((112, 112), "RGB")
    assert sum("classification layer" in note for note in imported.notes) == 2
    assert imported.state_dict.keys() == state.keys()
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = by_hand(state, images, NARROW)
        assert float(expected.std()) > 0.01
        torch.testing.assert_close(imported.backbone()(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_attention_needs_a_map_to_halve():
    with pytest.raises(FaceVeilError, match="more than 32 pixels"):
        backbones.create("ghostfacenet", {"input_size": [32, 32]})
    assert backbones.create("ghostfacenet", {"attention": False, "input_size": [32, 32], "width": 0.125})
