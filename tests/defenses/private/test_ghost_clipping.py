from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.heads import build_head
from benchmark.models.normalisation import ChannelAffine
from benchmark.protocol.track import HeadSpec
from benchmark.runtime.seeding import seeded
from defenses.private.ghost_clipping import Classifier, GhostClipping
from defenses.private.hook_clipping import HookClipping

CLASSES, SIZE = 7, 32
LABELS = torch.tensor([0, 3, 3, 6])
SMALL = {"width": 0.125, "embedding_size": 16, "input_size": [SIZE, SIZE], "norm": "group"}


def photos(count: int = len(LABELS)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(count, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    return pixels.contiguous(memory_format=torch.channels_last)


def classifier(backbone: nn.Module, head: str = "arcface", embedding: int = 16) -> Classifier:
    built = build_head(HeadSpec(name=head), embedding, CLASSES, torch.Generator().manual_seed(2))
    # In double precision rounding does not decide on which side of a kink a value falls.
    return Classifier(backbone.to(torch.float64, memory_format=torch.channels_last), built).train()


def small(name: str = "iresnet_slim", **kwargs) -> nn.Module:
    with seeded(0):
        return create(name, {**SMALL, **kwargs})


def naive_gradients(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> list[list[torch.Tensor]]:
    """One gradient per photo, by plain autograd on batches of one."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    losses = (F.cross_entropy(model(x[None], y[None]), y[None]) for x, y in zip(images, labels, strict=True))
    return [list(torch.autograd.grad(loss, parameters)) for loss in losses]


def units_of(gradients: list[list[torch.Tensor]], rows: int, weights: torch.Tensor) -> list[list[torch.Tensor]]:
    """The gradients of units of ``rows`` photos each, from those of the photos."""
    scaled = [[w * g for g in photo] for w, photo in zip(weights, gradients, strict=True)]
    return [[sum(parts) for parts in zip(*scaled[i : i + rows], strict=True)] for i in range(0, len(scaled), rows)]


def norms_of(gradients: list[list[torch.Tensor]]) -> torch.Tensor:
    return torch.stack([torch.stack([g.norm() for g in photo]).norm() for photo in gradients])


def assert_clipped_as_naively(
    model: Classifier,
    images: torch.Tensor,
    labels: torch.Tensor,
    rows: int = 1,
    weights: torch.Tensor | None = None,
    clipping: type[GhostClipping] = GhostClipping,
) -> None:
    """Norms, and the sum of clipped gradients, for a bound that clips some units and spares others."""
    mean = torch.full((len(images),), 1 / rows, dtype=images.dtype)
    naive = units_of(naive_gradients(model, images, labels), rows, mean if weights is None else weights)
    norms = norms_of(naive)
    bound = norms.median().item()
    private = clipping(model, bound)
    losses = private.accumulate(images, labels, rows, weights)
    torch.testing.assert_close(private.per_sample_gradient_norms, norms, rtol=1e-4, atol=1e-4)
    factors = (bound / norms).clamp(max=1)
    assert factors.min() < 1
    assert factors.max() == pytest.approx(1)
    for number, parameter in enumerate(private.trainable_parameters):
        wanted = sum(factor * photo[number] for factor, photo in zip(factors, naive, strict=True))
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    plain = F.cross_entropy(model.head(model.backbone(images), labels), labels, reduction="none")
    torch.testing.assert_close(losses, plain.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["softmax", "cosface", "arcface"])
def test_clipped_sum_of_backbone_and_head_is_the_naive_one(head):
    assert_clipped_as_naively(classifier(small(), head), photos(), LABELS)


UNITS = torch.tensor([0, 0, 3, 6, 6, 2])


@pytest.mark.parametrize("clipping", [GhostClipping, HookClipping])
@pytest.mark.parametrize("head", ["softmax", "cosface", "arcface"])
def test_a_unit_of_several_photos_is_clipped_as_one(head, clipping):
    assert_clipped_as_naively(classifier(small(), head), photos(6), UNITS, rows=2, clipping=clipping)


@pytest.mark.parametrize("clipping", [GhostClipping, HookClipping])
def test_photos_of_weight_nought_take_no_part(clipping):
    weights = torch.tensor([0.5, 0.5, 0, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64)
    assert_clipped_as_naively(classifier(small()), photos(6), UNITS, rows=3, weights=weights, clipping=clipping)


def test_units_of_depthwise_convolutions():
    assert_clipped_as_naively(classifier(small("mobilefacenet")), photos(6), UNITS, rows=2)


def test_photos_that_make_no_whole_units_are_refused():
    with pytest.raises(ValueError, match="whole units of 3"):
        GhostClipping(classifier(small()), 1.0).accumulate(photos(), LABELS, rows=3)


@pytest.mark.parametrize("head", ["softmax", "cosface", "arcface"])
def test_hooks_clip_as_naively(head):
    assert_clipped_as_naively(classifier(small(), head), photos(), LABELS, clipping=HookClipping)


@pytest.mark.parametrize("clipping", [GhostClipping, HookClipping])
def test_a_folded_network_with_its_scales_and_shifts(clipping):
    model = classifier(small(norm="folded"))
    scales = [layer for layer in model.backbone.modules() if isinstance(layer, ChannelAffine)]
    assert scales
    for number, layer in enumerate(scales):
        nn.init.constant_(layer.weight, 0.5 + number / len(scales))
    assert_clipped_as_naively(model, photos(), LABELS, clipping=clipping)


@pytest.mark.parametrize("name", ["mobilefacenet", "ir_se_50"])
def test_other_backbones(name):
    assert_clipped_as_naively(classifier(small(name)), photos(), LABELS)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_transformer_by_the_functional_fallback():
    with seeded(0):
        backbone = timm.create_model(
            "vit_tiny_patch16_224", img_size=SIZE, num_classes=0, depth=2, embed_dim=24, num_heads=2, global_pool="avg"
        )
    assert_clipped_as_naively(classifier(backbone, embedding=24), photos(), LABELS)


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": 1},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "bias": False},
        {"stride": (2, 1), "padding": (0, 2), "kernel_size": (3, 5)},
        {"groups": 2, "stride": 2},
        {"groups": 4, "out_channels": 8, "padding": 1},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": (2, 1), "padding_mode": "reflect"},
        {"kernel_size": 1, "stride": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("gram", [False, True])
def test_every_kind_of_convolution(arguments, gram):
    pool = nn.AdaptiveAvgPool2d(5) if gram else nn.Identity()  # few positions, many channels: norms by Gram matrices
    settings = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **arguments}
    if gram:
        settings |= {"in_channels": 64, "out_channels": 128}
    with seeded(0):
        stem = nn.Conv2d(3, settings["in_channels"], 3, 2, 1)
        backbone = nn.Sequential(stem, pool, nn.Conv2d(**settings), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert_clipped_as_naively(classifier(backbone, embedding=settings["out_channels"]), photos(), LABELS)


@pytest.mark.parametrize("slopes", [1, 8])
def test_prelu_after_a_linear_layer_and_after_a_convolution(slopes):
    with seeded(0):
        backbone = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4), nn.PReLU(slopes), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.PReLU(slopes)
        )
    assert_clipped_as_naively(classifier(backbone, embedding=8), photos(), LABELS)


def test_a_slope_used_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.prelu = nn.Linear(3 * SIZE * SIZE, 16), nn.Linear(16, 16), nn.PReLU(16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.prelu(self.second(self.prelu(self.first(x.flatten(1)))))

    with seeded(0):
        assert_clipped_as_naively(classifier(Twice()), photos(), LABELS)


def test_a_layer_that_sits_one_batch_out_leaves_nothing_of_the_batch_before():
    class Skipping(nn.Module):
        skip = False

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3 * SIZE * SIZE, 16), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x.flatten(1))
            return x if self.skip else self.second(x)

    with seeded(0):
        backbone = Skipping()
    private = GhostClipping(classifier(backbone), 1.0)
    private.accumulate(photos(), LABELS)
    backbone.skip = True
    private.accumulate(photos(), LABELS)
    private.unwrap()
    fresh = GhostClipping(classifier(backbone), 1.0)
    fresh.accumulate(photos(), LABELS)
    torch.testing.assert_close(private.per_sample_gradient_norms, fresh.per_sample_gradient_norms)


def test_chunks_change_nothing(monkeypatch):
    model = classifier(small())
    private = GhostClipping(model, 1.0)
    private.accumulate(photos(), LABELS)
    whole = private.per_sample_gradient_norms
    monkeypatch.setattr("benchmark.models.layer_gradients._CHUNK_CPU", 1)
    private.accumulate(photos(), LABELS)
    torch.testing.assert_close(private.per_sample_gradient_norms, whole, rtol=1e-5, atol=0)


@pytest.mark.parametrize("bound", [1e-3, 1.0, 50.0])
def test_no_photo_moves_the_sum_by_more_than_the_bound(bound):
    private = GhostClipping(classifier(small()), bound)
    for image, label in zip(photos(), LABELS, strict=True):
        private.zero_grad(set_to_none=True)
        private.accumulate(image[None], label[None])
        assert torch.cat([p.grad.flatten() for p in private.trainable_parameters]).norm() <= bound * (1 + 1e-5)


def test_batches_add_up():
    private = GhostClipping(classifier(small()), 1.0)
    private.accumulate(photos(), LABELS)
    whole = [p.grad.clone() for p in private.trainable_parameters]
    private.zero_grad(set_to_none=True)
    private.accumulate(photos()[:1], LABELS[:1])
    private.accumulate(photos()[1:], LABELS[1:])
    for parameter, sum_at_once in zip(private.trainable_parameters, whole, strict=True):
        torch.testing.assert_close(parameter.grad, sum_at_once, rtol=1e-3, atol=1e-5)


def test_hooks_that_write_where_they_wrote_before_add_up_batches_of_any_size():
    images = photos(6)
    labels = torch.arange(6)
    sums = []
    for clipping in (GhostClipping, HookClipping):
        private = clipping(classifier(small()), 1.0)
        for part in (slice(0, 2), slice(2, 5), slice(5, 6)):
            private.accumulate(images[part], labels[part])
        sums.append([p.grad.clone() for p in private.trainable_parameters])
    for ghost, hooks in zip(*sums, strict=True):
        torch.testing.assert_close(hooks, ghost)


def test_unwrapping_leaves_plain_modules():
    model = classifier(small())
    private = GhostClipping(model, 1.0)
    private.accumulate(photos(), LABELS)
    private.unwrap()
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not {"activations", "max_batch_len", "ft_compute_sample_grad"} & vars(module).keys()
    for parameter in model.parameters():
        assert parameter.grad is None
        assert not [name for name in vars(parameter) if "grad" in name or "norm" in name or "counter" in name]
    assert len(naive_gradients(model, photos(), LABELS)) == len(LABELS)


class Coupled(nn.Module):
    """Subtracts the batch's mean, as a BatchNorm would, without being one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x.flatten(1))
        return x - x.mean(0)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x.flatten(1))
        x += 1
        return x


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(3 * SIZE * SIZE, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(self.first(x.flatten(1))))


class Idle(Shared):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x.flatten(1))


class ByKeyword(nn.Module):
    """Hands an input to a layer in a way that its hooks do not see."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.ones(16))

        def forward(self, x: torch.Tensor, power: int = 1) -> torch.Tensor:
            return (self.slope * x) ** power

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scaled = nn.Linear(3 * SIZE * SIZE, 16), self.Scaled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scaled(self.layer(x.flatten(1)), power=3)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (ByKeyword, r"go wrong at backbone.scaled.slope"),
        (Coupled, "depends on the other"),
        (InPlace, "inplace"),
        (Shared, "tying"),
        (Idle, r"without gradient: backbone.layer"),
    ],
)
def test_what_breaks_per_sample_gradients_is_found_on_two_photos(backbone, message):
    private = GhostClipping(classifier(backbone()), 1.0)
    with pytest.raises(FaceVeilError, match=message):
        private.check(photos(2), LABELS[:2])


def test_a_sound_backbone_passes_the_check():
    GhostClipping(classifier(small()), 1.0).check(photos(2), LABELS[:2])


@pytest.mark.parametrize("affine", [False, True])
def test_batchnorm_left_in_is_refused(affine):
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, affine=affine), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(FaceVeilError, match=r"BatchNorm2d at '1'.*norm='group'"):
        GhostClipping(classifier(backbone), 1.0)


def test_other_running_statistics_are_refused():
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.InstanceNorm2d(16, track_running_stats=True), nn.Flatten())
    with pytest.raises(FaceVeilError, match="InstanceNorm2d"):
        GhostClipping(classifier(backbone), 1.0)


def test_a_head_that_couples_photos_is_refused():
    with pytest.raises(FaceVeilError, match=r"AdaFace head.*softmax, cosface, arcface"):
        GhostClipping(classifier(small(), "adaface"), 1.0)


def test_a_trainable_layer_with_buffers_is_refused():
    layer = nn.Linear(16, 16)
    layer.register_buffer("seen", torch.zeros(16))
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    with pytest.raises(FaceVeilError, match="no per-sample gradients"):
        GhostClipping(classifier(backbone), 1.0)
