from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from photo_arrays import ArrayPhotos, noise_photos, target_of
from pydantic import ValidationError
from torch import Tensor, nn

from benchmark.interfaces import Access, AccessError, NotApplicableError
from benchmark.signals import extraction
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import (
    Reading,
    channel_moments,
    distance,
    estimated_statistics,
    extract,
    extract_many,
    measure,
    normalisation_layers,
    stored_statistics,
)
from benchmark.signals.gradient_norms import AgreementGradient
from benchmark.signals.layers import ChannelMeans, NormDistance
from benchmark.signals.part_responses import PartResponses

MEAN = NormDistance(statistic="mean")
MEAN_VAR = NormDistance(statistic="mean_var")
EMBEDDING = Embedding()
RAW = Embedding(raw=True)


class Net(nn.Module):
    """Two BatchNorm2d and a BatchNorm1d, used once each; counts the photos that pass."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.conv2, self.bn2 = nn.Conv2d(6, 10, 3, stride=2), nn.BatchNorm2d(10)
            self.fc, self.bn3 = nn.Linear(10, 4), nn.BatchNorm1d(4)
            for norm in (self.bn1, self.bn2, self.bn3):
                norm.running_mean.normal_(0, 0.5)
                norm.running_var.uniform_(0.3, 2.0)
                nn.init.uniform_(norm.weight, 0.5, 1.5)
        self.passed = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passed += len(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.fc(x.mean((2, 3))))


class Rectified(nn.Module):
    """The net with one more activation."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.net(x))


def features_before_norms(net: Net, photos: ArrayPhotos) -> list[np.ndarray]:
    """Whole feature maps, computed step by step, in double precision."""
    double = {name: m.double() for name, m in net.named_children()}
    x = (photos.images.double() / 255 - 0.5) / 0.5
    with torch.no_grad():
        first = double["conv1"](x)
        second = double["conv2"](torch.relu(double["bn1"](first)))
        third = double["fc"](torch.relu(double["bn2"](second)).mean((2, 3)))
    maps = [f.numpy() for f in (first, second, third)]
    for m in double.values():
        m.float()
    return maps


def norms_of(net: Net) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(n.running_mean.double().numpy(), n.running_var.double().numpy()) for n in (net.bn1, net.bn2, net.bn3)]


def pixels(features: np.ndarray, photo: int, channel: int) -> np.ndarray:
    return np.atleast_1d(features[photo, channel]).ravel()


def naive_mean(features: np.ndarray, mean: np.ndarray) -> list[float]:
    """d_i = (1/b_i) ||v̄_i - u_i||^2, arXiv 2401.13719."""
    values = []
    for photo in range(len(features)):
        total = 0.0
        for channel in range(len(mean)):
            total += (pixels(features, photo, channel).mean() - mean[channel]) ** 2
        values.append(total / len(mean))
    return values


def naive_mean_var(features: np.ndarray, mean: np.ndarray, var: np.ndarray) -> list[tuple[float, float]]:
    values = []
    for photo in range(len(features)):
        weighted = spread = 0.0
        for channel in range(len(mean)):
            own = pixels(features, photo, channel)
            weighted += (own.mean() - mean[channel]) ** 2 / var[channel]
            spread += (np.sqrt(((own - mean[channel]) ** 2).mean() / var[channel]) - 1) ** 2
        values.append((weighted / len(mean), spread / len(mean)))
    return values


@pytest.fixture
def net() -> Net:
    return Net().eval()


@pytest.fixture
def photos() -> ArrayPhotos:
    return noise_photos()


# What is measured


def test_the_distance_of_the_paper_against_whole_feature_maps(net, photos):
    found = extract(target_of(net), photos, [MEAN])[MEAN]
    maps, norms = features_before_norms(net, photos), norms_of(net)
    expected = np.stack([naive_mean(f, mean) for f, (mean, _) in zip(maps, norms, strict=True)], axis=1)
    assert found.shape == (20, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_mean_and_variance_against_whole_feature_maps(net, photos):
    found = extract(target_of(net), photos, [MEAN_VAR])[MEAN_VAR]
    maps, norms = features_before_norms(net, photos), norms_of(net)
    expected = np.concatenate([naive_mean_var(f, mean, var) for f, (mean, var) in zip(maps, norms, strict=True)], axis=1)
    assert found.shape == (20, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_photo_that_has_the_statistics_is_at_distance_zero():
    """Per channel, over space: exactly the stored mean and variance."""
    pattern = torch.tensor([-1.0, 1.0]).repeat(8)
    mean, var = torch.tensor([0.5, -2.0]), torch.tensor([4.0, 0.25])
    features = (mean[:, None] + var.sqrt()[:, None] * pattern).view(1, 2, 4, 4)
    for statistic in ("mean", "mean_var"):
        assert torch.allclose(distance(*channel_moments(features), (mean, var), statistic), torch.zeros(1), atol=1e-6)


def test_moments_of_tokens_and_of_vectors():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(5, 7, 3, generator=generator)
    for found, expected in zip(channel_moments(tokens), (tokens.mean(1), (tokens**2).mean(1)), strict=True):
        torch.testing.assert_close(found, expected)
    vectors = torch.randn(5, 3, generator=generator)
    for found, expected in zip(channel_moments(vectors), (vectors, vectors**2), strict=True):
        torch.testing.assert_close(found, expected)
    maps = torch.randn(5, 3, 2, 4, generator=generator)
    for found, expected in zip(channel_moments(maps), (maps.mean((2, 3)), (maps**2).mean((2, 3))), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_embedding_is_what_the_backbone_returns(net, photos):
    found = extract(target_of(net, Access.EMBEDDING), photos, [EMBEDDING])
    with torch.no_grad():
        expected = net((photos.images.float() / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(found[EMBEDDING], expected, rtol=1e-5, atol=1e-6)
    assert (found.identity == photos.identity).all()


def test_the_inference_transform_is_seen_by_embeddings_alone(net, photos):
    plain = extract(target_of(net), photos, [EMBEDDING, RAW, MEAN])
    signed = extract(target_of(net, inference={"kind": "sign"}), photos, [EMBEDDING, RAW, MEAN])
    assert set(np.unique(signed[EMBEDDING])) == {-1.0, 1.0}
    np.testing.assert_array_equal(signed[EMBEDDING], np.where(plain[EMBEDDING] < 0, -1, 1))
    np.testing.assert_array_equal(signed[RAW], plain[EMBEDDING])
    np.testing.assert_array_equal(signed[MEAN], plain[MEAN])


def test_views_change_the_image_and_nothing_else(net, photos):
    requests = [Embedding(view=view) for view in extraction.VIEWS]
    found = extract(target_of(net), photos, requests)
    floats = photos.images.float() / 255
    for request in requests:
        with torch.no_grad():
            expected = net((extraction.VIEWS[request.view](floats) - 0.5) / 0.5)
        np.testing.assert_allclose(found[request], expected, rtol=1e-4, atol=1e-5)


def test_what_the_views_do():
    image = torch.arange(2 * 3 * 28 * 28).view(2, 3, 28, 28).float() / 4704
    views = {name: view(image) for name, view in extraction.VIEWS.items()}
    assert all(v.shape == image.shape for v in views.values())
    torch.testing.assert_close(views["flip"][..., 3], image[..., 24])
    torch.testing.assert_close(views["shift"][..., 5, 9], image[..., 4, 8])
    torch.testing.assert_close(views["shift"][..., 0, 0], image[..., 0, 0])
    torch.testing.assert_close(views["dim"], 0.7 * image)
    torch.testing.assert_close(views["blur"][..., 10, 10], image[..., 9:12, 9:12].mean((2, 3)))
    torch.testing.assert_close(views["identity"], image)


POOLED = ChannelMeans(statistic="mean")
POOLED_SPREAD = ChannelMeans(statistic="mean_std")


def test_activations_are_the_means_of_all_channels_and_a_spread_a_layer(net, photos):
    found = extract(target_of(net), photos, [POOLED, POOLED_SPREAD, MEAN_VAR])
    maps = features_before_norms(net, photos)
    means = [[[pixels(f, n, c).mean() for c in range(f.shape[1])] for n in range(20)] for f in maps]
    spread = [[np.sqrt(np.mean([pixels(f, n, c).var() for c in range(f.shape[1])])) for n in range(20)] for f in maps]
    expected = np.concatenate(means, axis=1)
    assert expected.shape == (20, 6 + 10 + 4)
    np.testing.assert_allclose(found[POOLED], expected, rtol=1e-3, atol=1e-5)
    both = np.concatenate([expected, np.stack(spread, axis=1)], axis=1)
    np.testing.assert_allclose(found[POOLED_SPREAD], both, rtol=1e-3, atol=1e-4)


def test_activations_need_no_batchnorm(photos):
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    found = extract(target_of(plain), photos, [POOLED])[POOLED]
    assert found.shape == (20, 9)
    with torch.no_grad():
        expected = plain[0](photos.images.float() / 127.5 - 1).mean((2, 3))
    np.testing.assert_allclose(found[:, :4], expected, rtol=1e-4, atol=1e-5)


def test_repeated_queries_average_the_noise_of_the_answers(net, photos):
    target = target_of(net, inference={"kind": "noise", "sigma": 2.0})
    clean = torch.nn.functional.normalize(torch.tensor(extract(target_of(net), photos, [EMBEDDING])[EMBEDDING]))
    once = extract(target, photos, [EMBEDDING])[EMBEDDING]
    often = Embedding(queries=100)
    assert often.access == Access.EMBEDDING
    error = np.abs(extract(target, photos, [often])[often] - clean.numpy()).mean()
    assert error < 0.2 * np.abs(once - clean.numpy()).mean()


@pytest.mark.parametrize(
    ("request_", "settings"),
    [
        (NormDistance, {}),
        (NormDistance, {"statistic": "value"}),
        (Embedding, {"statistic": "mean"}),
        (PartResponses, {}),
        (PartResponses, {"parts": 4, "view": "flip"}),
        (Embedding, {"queries": 0}),
        (AgreementGradient, {"of": "input"}),
        (AgreementGradient, {"of": "input", "view": "identity"}),
    ],
)
def test_requests_without_a_meaning_are_refused(request_, settings):
    with pytest.raises(ValidationError):
        request_(**settings)


def test_passes_are_what_the_backbone_is_shown(net, photos):
    requests = [
        MEAN,
        EMBEDDING,
        POOLED,
        Embedding(view="augment-0"),
        AgreementGradient(of="input", view="augment-0"),
        AgreementGradient(of="weights", view="augment-0"),
    ]
    extract(target_of(net), photos, requests)
    assert net.passed == 4 * len(photos) == extraction.passes(requests) * len(photos)


# One streaming pass


@pytest.mark.parametrize("name", ["BATCH", "CHUNK"])
def test_batches_and_chunks_change_nothing(name, net, photos, monkeypatch):
    requests = [MEAN, MEAN_VAR, EMBEDDING]
    whole = extract(target_of(net), photos, requests)
    monkeypatch.setattr(extraction, name, 7)  # 20 photos: 7, 7, 6
    parts = extract(target_of(net), photos, requests)
    for request in requests:
        np.testing.assert_allclose(parts[request], whole[request], rtol=1e-5, atol=1e-6)


def test_one_pass_a_view_serves_every_request(net, photos):
    flip = Embedding(view="flip")
    extract(target_of(net), photos, [MEAN, MEAN_VAR, EMBEDDING, RAW, flip, MEAN])
    assert net.passed == 2 * len(photos)
    assert photos.loaded == len(photos)


def test_several_models_share_one_reading_of_the_photos(photos, tmp_path):
    nets = [Net(seed=n) for n in range(3)]
    requests = ([MEAN, EMBEDDING], [MEAN_VAR], [MEAN, EMBEDDING])
    alone = [extract(target_of(n, name=f"net{i}"), photos, r) for i, (n, r) in enumerate(zip(nets, requests, strict=True))]
    extract(target_of(nets[1], name="net1"), photos, requests[1], cache=tmp_path)  # one of them is there already
    photos.loaded = nets[1].passed = 0
    readings = [Reading(target_of(n, name=f"net{i}"), r) for i, (n, r) in enumerate(zip(nets, requests, strict=True))]
    together = extract_many(readings, photos, cache=tmp_path)
    assert photos.loaded == len(photos)
    assert nets[1].passed == 0
    for one, other, wanted in zip(together, alone, requests, strict=True):
        assert set(one.values) == {r.key for r in wanted}
        for request in wanted:
            np.testing.assert_array_equal(one[request], other[request])
    assert np.abs(together[0][MEAN] - together[2][MEAN]).max() > 0.01
    extract_many(readings, photos, cache=tmp_path)
    assert photos.loaded == len(photos)


def test_hooks_do_not_stay(net, photos):
    extract(target_of(net), photos, [MEAN])
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.modules())


def test_progress_counts_photos(net, photos, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 8)
    seen: list[int] = []
    extract(target_of(net), photos, [EMBEDDING], progress=seen.append)
    assert seen == [8, 8, 4]


# The cache


def test_cached_equals_fresh_and_runs_nothing(net, photos, tmp_path):
    requests = [MEAN, EMBEDDING]
    fresh = extract(target_of(net), photos, requests)
    written = extract(target_of(net), photos, requests, cache=tmp_path)
    passed, loaded = net.passed, photos.loaded
    cached = extract(target_of(net), photos, requests, cache=tmp_path)
    assert (net.passed, photos.loaded) == (passed, loaded)
    for request in requests:
        np.testing.assert_array_equal(written[request], fresh[request])
        np.testing.assert_array_equal(cached[request], fresh[request])
        assert isinstance(cached[request], np.memmap)


def test_only_what_is_missing_is_computed(net, photos, tmp_path):
    extract(target_of(net), photos, [EMBEDDING], cache=tmp_path)
    (first,) = tmp_path.glob("*.npy")
    before = first.stat()
    extract(target_of(net), photos, [EMBEDDING, MEAN], cache=tmp_path)
    assert net.passed == 2 * len(photos)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("change", ["weights", "photos", "order", "inference", "normalisation", "architecture", "reference"])
def test_the_cache_knows_what_a_signal_depends_on(change, net, photos, tmp_path):
    target, references = target_of(net), {}
    request = NormDistance(statistic="mean", reference="auxiliary") if change == "reference" else EMBEDDING
    if change == "reference":
        references = {"auxiliary": estimated_statistics(target, noise_photos(seed=5), "auxiliary")}
    first = extract(target, photos, [request], references=references, cache=tmp_path)[request]
    if change == "weights":
        target = target_of(Net(seed=1).eval())
    elif change == "photos":
        photos = noise_photos(seed=9)
    elif change == "order":
        photos = photos.take(np.arange(20)[::-1].copy())
    elif change == "inference":
        target = target_of(net, inference={"kind": "sign"})
    elif change == "architecture":  # the same weights, another activation
        target = target_of(Rectified(net), name="another")
        target.submission_id = target_of(net).submission_id
    elif change == "normalisation":
        target = target_of(net, mean=(0.4, 0.4, 0.4), std=(0.25, 0.25, 0.25))
    else:
        references = {"auxiliary": estimated_statistics(target, noise_photos(seed=6), "auxiliary")}
    second = extract(target, photos, [request], references=references, cache=tmp_path)[request]
    expected = extract(target, photos, [request], references=references)[request]
    np.testing.assert_array_equal(second, expected)
    assert not np.array_equal(first, second)


def test_an_interrupted_pass_leaves_nothing_half(net, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 6)
    photos.fail_at = 13
    with pytest.raises(OSError, match="photo 13"):
        extract(target_of(net), photos, [EMBEDDING, MEAN], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    photos.fail_at = None
    found = extract(target_of(net), photos, [EMBEDDING, MEAN], cache=tmp_path)
    fresh = extract(target_of(net), photos, [EMBEDDING, MEAN])
    np.testing.assert_array_equal(found[MEAN], fresh[MEAN])
    arrays = {path.name for path in tmp_path.glob("*.npy")}
    assert len(arrays) == 2
    assert {path.name for path in tmp_path.iterdir()} == arrays | {f".{name}.sha256" for name in arrays}


# Which layers, and whose statistics


def test_estimated_statistics_are_those_of_all_photos_and_places(net, photos, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 6)
    found = estimated_statistics(target_of(net), photos, "auxiliary")
    assert list(found.moments) == ["bn1", "bn2", "bn3"]
    for (mean, var), features in zip(found.moments.values(), features_before_norms(net, photos), strict=True):
        channels = np.moveaxis(features, 1, 0).reshape(features.shape[1], -1)
        np.testing.assert_allclose(mean, channels.mean(1), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(var, channels.var(1), rtol=1e-4, atol=1e-6)
    assert found.digest != estimated_statistics(target_of(net), noise_photos(seed=3), "auxiliary").digest


def test_distances_to_estimated_statistics(net, photos):
    request = NormDistance(statistic="mean_var", reference="auxiliary")
    references = {"auxiliary": estimated_statistics(target_of(net), noise_photos(seed=3), "auxiliary")}
    found = extract(target_of(net), photos, [request], references=references)[request]
    moments = [(m.double().numpy(), v.double().numpy()) for m, v in references["auxiliary"].moments.values()]
    maps = features_before_norms(net, photos)
    expected = np.concatenate([naive_mean_var(f, m, v) for f, (m, v) in zip(maps, moments, strict=True)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_stored_and_estimated_references_in_one_pass(net, photos):
    other = NormDistance(statistic="mean", reference="auxiliary")
    references = {"auxiliary": estimated_statistics(target_of(net), photos, "auxiliary")}
    net.passed = 0
    both = extract(target_of(net), photos, [MEAN, other], references=references)
    assert net.passed == len(photos)
    np.testing.assert_allclose(both[MEAN], extract(target_of(net), photos, [MEAN])[MEAN], rtol=1e-6)
    assert not np.allclose(both[MEAN], both[other])


def test_no_batchnorm_names_the_remedy(photos):
    grouped = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(NotApplicableError, match=r"no BatchNorm statistics.*statistics=feature_means"):
        extract(target_of(grouped), photos, [MEAN])
    without = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    with pytest.raises(NotApplicableError, match="feature_means"):
        normalisation_layers(without, "stored")


def test_feature_means_take_what_is_there(photos):
    request = NormDistance(statistic="mean", reference="feature_means")
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    nets = {
        "group": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), *pool), ["1"]),
        "none": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), *pool), ["0", "2"]),
    }
    for module, names in nets.values():
        target = target_of(module.eval())
        assert list(normalisation_layers(module, "feature_means")) == names
        references = {"feature_means": estimated_statistics(target, photos, "feature_means")}
        found = extract(target, photos, [request], references=references)[request]
        with torch.no_grad():
            features = module[0](photos.images.float() / 127.5 - 1).double().numpy()
        mean = np.moveaxis(features, 1, 0).reshape(features.shape[1], -1).mean(1)
        assert found.shape == (len(photos), len(names))
        np.testing.assert_allclose(found[:, 0], naive_mean(features, mean), rtol=1e-4)
    with pytest.raises(NotApplicableError, match="neither normalisation layers nor convolutions"):
        normalisation_layers(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "feature_means")


def test_layer_norm_over_tokens_of_a_transformer():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, depth=2).eval()
    photos, target = noise_photos(people=3, size=32), target_of(vit, size=32)
    request = NormDistance(statistic="mean", reference="feature_means")
    references = {"feature_means": estimated_statistics(target, photos, "feature_means")}
    found = extract(target, photos, [request], references=references)[request]
    layers = normalisation_layers(vit, "feature_means")
    assert found.shape == (6, len(layers))
    tokens: list[Tensor] = []
    handle = layers["blocks.1.norm1"].register_forward_pre_hook(lambda _m, args: tokens.append(args[0]))
    with torch.no_grad():
        vit(photos.images.float() / 127.5 - 1)
    handle.remove()
    means = tokens[0].double().mean(1)
    expected = ((means - means.mean(0)) ** 2).mean(1)
    np.testing.assert_allclose(found[:, list(layers).index("blocks.1.norm1")], expected, rtol=1e-3)


# Gradients


def test_distances_have_the_gradient_of_finite_differences(net):
    net = net.double()
    target = target_of(net)
    references = {"stored": stored_statistics(net)}
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def total(x: Tensor) -> Tensor:
        found = measure(Reading(target, [MEAN, MEAN_VAR, EMBEDDING], references), x)
        return found[MEAN.key].sum() + found[MEAN_VAR.key].sum() + found[EMBEDDING.key].sum()

    x = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(total(x), x)
    assert torch.isfinite(gradient).all()
    for position in [(0, 0, 3, 4), (1, 2, 7, 0), (0, 1, 0, 7)]:
        step = torch.zeros_like(images)
        step[position] = 1e-6
        slope = (total(images + step) - total(images - step)) / 2e-6
        assert abs(float(slope - gradient[position])) < 1e-4 * max(1, abs(float(slope)))
    assert all(p.grad is None for p in net.parameters())


def test_every_photo_of_a_batch_has_a_gradient_of_its_own(net, photos):
    images = (photos.images[:4].float() / 255).requires_grad_(True)
    found = measure(Reading(target_of(net), [MEAN], {"stored": stored_statistics(net)}), images)[MEAN.key]
    (gradient,) = torch.autograd.grad(found[1].sum(), images)
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2, 3]].abs().sum() == 0


# Access


@pytest.mark.parametrize("request_", [MEAN, RAW], ids=["norm", "raw"])
def test_more_than_the_embedding_needs_the_weights(request_, net, photos, tmp_path):
    target = target_of(net, Access.EMBEDDING)
    with pytest.raises(AccessError, match=r"needs 'weights' access.*declared 'embedding'"):
        extract(target, photos, [request_])
    extract(target_of(net), photos, [request_], cache=tmp_path)
    with pytest.raises(AccessError):  # nor from the cache
        extract(target, photos, [request_], cache=tmp_path)
    with pytest.raises(AccessError):
        measure(Reading(target, [request_], {"stored": stored_statistics(net)}), photos.images)


def test_similarity_access_gives_no_embedding(net, photos):
    with pytest.raises(AccessError, match="embedding"):
        extract(target_of(net, Access.SIMILARITY), photos, [EMBEDDING])
