from __future__ import annotations

import numpy as np
import pytest
import torch
from photo_arrays import noise_photos, target_of
from scipy.stats import norm
from torch import Tensor, nn

from benchmark.interfaces import NotApplicableError
from benchmark.models.backbones import create
from benchmark.signals.extraction import extract
from benchmark.signals.part_responses import AREA, SHARPNESS, PartResponses, check_map, watching
from benchmark.signals.views import crops

PARTS = PartResponses(parts=5)


class Net(nn.Module):
    """Maps of 64, 16 and 4 places; counts the images that pass each layer."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 5, 3, 2, 1)
            self.third, self.fc = nn.Conv2d(5, 4, 3, 2, 1), nn.Linear(16, 3)
        self.passed = [0, 0]

    def forward(self, x: Tensor) -> Tensor:
        self.passed[0] += len(x)
        x = self.second(torch.relu(self.first(x)))
        self.passed[1] += len(x)
        return self.fc(self.third(torch.relu(x)).flatten(1))


def test_the_deepest_map_with_places_enough_is_taken():
    net = Net().eval()
    with watching(net) as found:
        net(torch.zeros(1, 3, 16, 16))
    assert list(found) == ["second"]
    slim = create("iresnet_slim", {"input_size": [64, 64]}).eval()
    with watching(slim) as found:
        slim(torch.zeros(1, 3, 64, 64))
    ((name, features),) = found.items()
    assert name.startswith("layer4")
    assert features.shape[-2:] == (4, 4)
    assert not any(m._forward_hooks for m in slim.modules())


def test_responses_of_parts_step_by_step():
    net, photos = Net().eval(), noise_photos(people=3, size=16)
    found = extract(target_of(net, size=16), photos, [PARTS])[PARTS]
    assert found.shape == (6, 10)
    floats = photos.images.float() / 255
    with torch.no_grad():
        maps = net.second(torch.relu(net.first(2 * floats - 1))).double().numpy()
        parts = crops(floats, 5, AREA, (16, 16))
        pooled = net.second(torch.relu(net.first(2 * parts.flatten(0, 1) - 1))).mean((2, 3)).double().numpy()
    bell = norm.pdf(norm.ppf((np.arange(16) + 0.5) / 16))
    bell /= bell.sum()
    for photo in range(6):
        uniform, gaussian = [], []
        for part in pooled.reshape(6, 5, -1)[photo]:
            places = maps[photo].reshape(5, 16)
            cosines = part @ places / np.linalg.norm(part) / np.linalg.norm(places, axis=0)
            response = np.exp(SHARPNESS * cosines)
            response /= response.sum()
            uniform.append(sum(1 / 16 * np.log(1 / 16 / r) for r in response))
            gaussian.append(sum(b * np.log(b / r) for b, r in zip(bell, response, strict=True)))
        expected = sorted(uniform, reverse=True) + sorted(gaussian, reverse=True)
        np.testing.assert_allclose(found[photo], expected, rtol=1e-3, atol=1e-5)


def test_nothing_behind_the_map_is_computed_for_parts():
    net, photos = Net().eval(), noise_photos(people=3, size=16)
    extract(target_of(net, size=16), photos, [PARTS])
    assert net.passed == [2 + 6 + 30, 1 + 6]  # a photo and a part to see whether there is a map


def test_without_a_map_the_reason_is_told():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.Flatten(), nn.Linear(16, 4)).eval()
    with pytest.raises(NotApplicableError, match="16 places or more"):
        check_map(target_of(net, size=8))


def test_queries_and_keys_of_attention_are_no_map():
    """They have four dimensions, too, but heads stand where channels do."""
    arguments = {"patch": 8, "channels": 16, "depth": 1, "heads": 2, "ratio": 1, "embedding_size": 4, "input_size": [32, 32]}
    network = create("face_vit", arguments).eval()
    with watching(network) as found:
        network(torch.zeros(1, 3, 32, 32))
    assert list(found) == ["patch_embed.proj"]
    values = extract(target_of(network, size=32), noise_photos(people=2, size=32), [PARTS])[PARTS]
    assert np.isfinite(values).all()


class OneSize(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 72, "images of 72 pixels alone"
        return super().forward(x[..., :16, :16])


def test_a_backbone_that_takes_one_size_alone_has_no_parts():
    with pytest.raises(NotApplicableError, match="takes no parts of 18 x 18 pixels: images of 72 pixels alone"):
        check_map(target_of(OneSize().eval(), size=72))
