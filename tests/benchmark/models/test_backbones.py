from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models import backbones, timm_names  # noqa: F401  timm knows our names from then on
from benchmark.protocol.track import InputSpec
from benchmark.runtime.seeding import seeded

BN = nn.modules.batchnorm._BatchNorm
NARROW = {"width": 0.125}  # of the published channel counts, so that the deep ones build fast
WITH_WIDTH = [name for name in backbones.names() if name not in ("inception_resnet_face", "edgeface", "face_vit")]


def narrow(name: str, size: tuple[int, int], **kwargs) -> nn.Module:
    return backbones.create(name, {**NARROW, "embedding_size": 24, "input_size": list(size), **kwargs})


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (64, 64), (112, 96), (50, 46)])
@pytest.mark.parametrize(
    "name", ["mobilefacenet", "mobilefacenet_irse", "mobilefacenet_arcface", "iresnet_slim", "iresnet18", "ir_se_50"]
)
def test_embeddings_at_every_size(name, size):
    backbone = narrow(name, size).eval()
    out = backbone(torch.randn(3, 3, *size))
    assert out.shape == (3, 24)
    assert torch.isfinite(out).all()
    assert backbones.embedding_size(backbone, InputSpec(size=size)) == 24


@pytest.mark.parametrize("name", WITH_WIDTH)
def test_each_batchnorm_is_a_module_that_sees_its_input_unchanged(name):
    backbone = narrow(name, (48, 48)).train()
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for key, layer in backbone.named_modules():
        if isinstance(layer, BN):
            layer.register_forward_pre_hook(
                lambda _m, args, key=key: seen.__setitem__(key, (args[0], args[0].detach().clone()))
            )
    backbone(torch.randn(4, 3, 48, 48)).square().sum().backward()
    assert set(seen) == {key for key, layer in backbone.named_modules() if isinstance(layer, BN)}
    for kept, copy in seen.values():
        assert torch.equal(kept, copy), "written over in place after the hook"
    without = [key for key, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize("name", backbones.names())
def test_registered_in_timm(name):
    kwargs = NARROW if name in WITH_WIDTH else {"channels": 32} if name == "face_vit" else {}
    backbone = timm.create_model(name, num_classes=0, **kwargs)
    assert backbone.pretrained_cfg["input_size"] == (3, 112, 112)
    assert backbone.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    assert name in timm.list_models()


def test_published_parameter_counts():
    """Of MobileFaceNet in its paper (0.99 M), and of IResNet-18 as published (24.0 M)."""
    count = {n: sum(p.numel() for p in backbones.create(n).parameters()) for n in ("mobilefacenet", "iresnet18")}
    assert count["mobilefacenet"] == pytest.approx(1.0e6, rel=0.02)
    assert count["iresnet18"] == pytest.approx(24.0e6, rel=0.01)


def test_same_seed_same_weights_and_global_state_untouched():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with seeded(3):
        first = narrow("mobilefacenet", (32, 32)).state_dict()
    with seeded(3):
        second = narrow("mobilefacenet", (32, 32)).state_dict()
    with seeded(4):
        third = narrow("mobilefacenet", (32, 32)).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["conv1.conv.weight"], third["conv1.conv.weight"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_opacus_gives_per_sample_gradients():
    from opacus import GradSampleModule
    from opacus.validators import ModuleValidator

    backbone = GradSampleModule(ModuleValidator.fix(narrow("iresnet_slim", (32, 32), width=0.25)))
    backbone(torch.randn(4, 3, 32, 32)).square().sum().backward()
    missing = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad_sample.shape[0] != 4]
    assert not missing


def test_other_timm_models_work_by_name():
    backbone = backbones.create("resnet10t")
    assert backbones.embedding_size(backbone, InputSpec(size=(64, 64))) == 512
    assert backbone.training


@pytest.mark.parametrize(
    ("name", "kwargs", "text"),
    [
        ("mobilefacnet", {}, "Did you mean mobilefacenet"),
        ("hf-hub:timm/resnet18", {}, "unknown backbone"),
        ("iresnet18", {"foo": 1}, "foo"),
        ("mobilefacenet", {"width": "wide"}, "cannot be built"),
        ("mobilefacenet", {"num_classes": 10}, "num_classes cannot be set"),
        ("resnet18", {"pretrained": True}, "pretrained cannot be set"),
        ("resnet18", {"checkpoint_path": "/etc/passwd"}, "checkpoint_path cannot be set"),
    ],
)
def test_refusals_name_the_argument(name, kwargs, text):
    with pytest.raises(FaceVeilError, match=text):
        backbones.create(name, kwargs)


def test_wrong_size_and_unpooled_output_are_refused():
    with pytest.raises(FaceVeilError, match="built for 32 x 32"):
        backbones.embedding_size(narrow("mobilefacenet", (32, 32)), InputSpec(size=(64, 64)))
    with pytest.raises(FaceVeilError, match="pooled"):
        backbones.embedding_size(backbones.create("resnet10t", {"global_pool": ""}), InputSpec(size=(64, 64)))
