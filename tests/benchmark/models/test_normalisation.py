from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import ScaledStdConv2d
from torch import nn

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create, names
from benchmark.models.normalisation import ChannelAffine, batchnorms, exchange, fold, named, norm_kinds, sources_of, unfolded
from benchmark.runtime.seeding import seeded

SMALL = {"input_size": [32, 32], "embedding_size": 16, "width": 0.125}
OURS = [name for name in names() if name in ("mobilefacenet", "iresnet_slim", "iresnet18", "ir_se_50")]
TIMM = ("resnet18", "efficientnet_b0")


def built(name: str, **kwargs) -> nn.Module:
    with seeded(0):
        return create(name, {**(SMALL if name in OURS else {}), **kwargs})


def lived_in(backbone: nn.Module) -> nn.Module:
    """Statistics, weights and biases of every BatchNorm as after a training: none at its initial value."""
    with seeded(1), torch.no_grad():
        for layer in batchnorms(backbone).values():
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 4.0)
            layer.weight.uniform_(-1.0, 1.5)
            layer.bias.normal_(0, 0.3)
    return backbone.eval()


@pytest.mark.parametrize("name", [*OURS, *TIMM])
@pytest.mark.parametrize("norm", ["group", "layer", "none", "folded"])
def test_no_batchnorm_is_left_and_photos_are_not_coupled(name, norm):
    backbone = built(name, norm=norm)
    assert not batchnorms(backbone)
    assert not [b for b, _ in backbone.named_buffers() if "running" in b]
    kinds = norm_kinds(backbone)
    assert kinds == ({"group"} if norm in ("group", "layer") else set())
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone.train()
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    if name in OURS:  # timm's own may drop whole paths at random
        torch.testing.assert_close(backbone(images)[:1], backbone(images[:1]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [*OURS, "resnet18", "efficientnet_b0"])
def test_a_folded_backbone_embeds_as_before(name):
    backbone = lived_in(built(name)).double()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        before = backbone(images)
        after = fold(copy.deepcopy(backbone))(images)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6 * float(before.abs().max()))


@pytest.mark.parametrize("name", OURS)
def test_a_card_can_name_what_folding_made(name):
    folded = fold(lived_in(built(name)))
    fresh = built(name, norm="folded")
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {k: v.shape for k, v in folded.state_dict().items()}
    fresh.load_state_dict(folded.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fresh.eval()(images), folded(images))


def test_each_batchnorm_is_folded_into_what_really_feeds_it():
    backbone = built("iresnet_slim")
    sources = sources_of(backbone)
    assert sources["layer1.0.bn2"] == "layer1.0.conv1"
    assert sources["layer1.0.downsample.1"] == "layer1.0.downsample.0"
    assert sources["features"] == "fc"
    entries = {name for name in batchnorms(backbone) if name not in sources}
    assert entries == {"bn2", *(f"layer{s}.{b}.bn1" for s in range(1, 5) for b in range(2))}
    outputs: list[tuple[str, torch.Tensor]] = []
    seen = {}

    def look(name, fed):
        seen[name] = next((source for source, out in outputs if out is fed), None)

    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _m, _i, out, name=name: outputs.append((name, out)))
    for name, layer in batchnorms(backbone).items():
        layer.register_forward_pre_hook(lambda _m, args, name=name: look(name, args[0]))
    backbone.eval()(torch.rand(1, 3, 32, 32))
    assert {name: source for name, source in seen.items() if source} == sources


def test_without_a_norm_the_weights_are_standardised():
    backbone = built("iresnet_slim", norm="none")
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(m, ScaledStdConv2d) and m.bias is not None for m in convolutions)
    assert sum(isinstance(m, ChannelAffine) for m in backbone.modules()) == 9
    layer = convolutions[3].eval()
    effective = layer(torch.eye(layer.in_channels)[:, :, None, None].repeat(1, 1, 3, 3))[0, :, 1, 1]
    assert torch.isfinite(effective).all()
    with torch.no_grad():
        before = layer(torch.ones(1, layer.in_channels, 5, 5))[0, :, 2, 2]
        layer.weight.add_(3.0).mul_(7.0)  # mean and scale of the weights mean nothing
        torch.testing.assert_close(layer(torch.ones(1, layer.in_channels, 5, 5))[0, :, 2, 2], before, atol=1e-4, rtol=1e-3)
    depthwise = [m for m in built("mobilefacenet", norm="none").modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert depthwise
    assert not any(isinstance(m, ScaledStdConv2d) for m in depthwise)


def test_norms_that_carry_an_activation_keep_it():
    with_activation = built("efficientnet_b0", norm="group")
    assert isinstance(with_activation.bn1.act, nn.SiLU)
    assert isinstance(built("efficientnet_b0", norm="folded").bn1, nn.SiLU)


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(FaceVeilError, match="one of batch, group, layer, none, folded"):
        create("iresnet_slim", {"norm": "instance"})
    with pytest.raises(FaceVeilError, match="no BatchNorm layer to replace"):
        exchange(nn.Sequential(nn.Linear(2, 2)), "none")
    free = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(FaceVeilError, match="keeps no running statistics"):
        fold(free)


def test_names_of_norms():
    spec = BackboneSpec(name="iresnet_slim", kwargs={"width": 0.5})
    assert named(named(spec, "folded"), "batch") == spec
    assert unfolded(named(spec, "folded")) == spec
    assert unfolded(named(spec, "group")) == named(spec, "group")
