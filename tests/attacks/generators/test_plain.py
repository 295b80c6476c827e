from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from attacks.generators.commands import preview
from attacks.generators.files import load_generator
from attacks.generators.opening import open_generator
from attacks.generators.plain import PlainGenerator
from attacks.generators.sampling import sample
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.seeding import seeded


class Published(nn.Module):
    """The class of DCGAN's tutorial, small: ``main`` is z to 4, 8, 16 and 32 pixels."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(12, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
            nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True),
            nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.main(z)


@pytest.fixture
def published():
    with seeded(0):
        net = Published()
        net.train()(torch.randn(32, 12, 1, 1))  # statistics of its own
    return net.eval()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"netG_state_dict": s}, lambda s: {"generator": {f"module.{n}": t for n, t in s.items()}}]
)
def test_a_dcgan_is_read_to_the_last_number(tmp_path, published, wrap):
    torch.save(wrap(published.state_dict()), tmp_path / "dcgan.pt")
    generator = load_generator(tmp_path / "dcgan.pt")
    assert (generator.z_dim, generator.resolution, generator.num_ws) == (12, 32, 1)
    z = generator.latents(5, seed=3)
    expected = published(z[:, :, None, None]) * 0.5 + 0.5
    torch.testing.assert_close(generator.images(generator.mapping(z)), expected)
    torch.testing.assert_close(sample(generator, 5, seed=3), expected.detach())
    assert not any(p.requires_grad for p in generator.parameters())


def test_it_is_opened_as_any_generator_is(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "dcgan.pt")
    generator, name, digest = open_generator("faces-112", 112, tmp_path / "dcgan.pt")
    assert isinstance(generator, PlainGenerator)
    assert name == "dcgan.pt, 32 px resized to 112 px"
    assert len(digest) == 64


def test_a_preview_is_drawn(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "dcgan.pt")
    told = preview(tmp_path / "dcgan.pt", tmp_path / "faces.png", rows=2, columns=3, seed=0, truncation=1.0)
    assert (told["z_dim"], told["resolution"]) == (12, 32)
    with Image.open(tmp_path / "faces.png") as picture:
        assert picture.size == (3 * 32 * 4, 2 * 32 * 4)


def test_truncation_draws_towards_the_mean_and_gradients_reach_the_latents(published):
    generator = PlainGenerator(published.main, 12, 32)
    z = torch.randn(4, 12)
    torch.testing.assert_close(generator.mapping(z, 0.5)[:, 0], 0.5 * z)
    ws = generator.mapping(z).requires_grad_(True)
    generator.images(ws).sum().backward()
    assert ws.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: {**s, "main.3.weight": torch.zeros(9, 8, 4, 4)}, "does not follow on 16 channels"),
        (lambda s: {**s, "main.0.weight": s["main.0.weight"] * float("nan")}, "not finite"),
        (lambda s: {n: t for n, t in s.items() if not n.startswith("main.9")}, "makes 4 x 16 x 16"),
        (lambda s: {**s, "main.10.weight": torch.zeros(3)}, "does not belong to a DCGAN"),
        (
            lambda s: {n: t for n, t in s.items() if n != "main.3.weight"} | {"main.3.bias": torch.zeros(8)},
            "layer 3 has no weight",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, published, spoil, said):
    torch.save(spoil(published.state_dict()), tmp_path / "dcgan.pt")
    with pytest.raises(FaceVeilError, match=said):
        load_generator(tmp_path / "dcgan.pt")


@pytest.mark.realdata
def test_a_published_dcgan_draws_faces(testdata):
    generator = load_generator(testdata / "models" / "dcgan_digiface.pt")
    assert (generator.z_dim, generator.resolution) == (100, 64)
    images = sample(generator, 16, seed=0)
    assert 0.15 < images.mean() < 0.85
    assert images.std() > 0.15
    mirrored = (images - images.flip(-1)).abs().mean()
    assert mirrored < (images - images.roll(1, 0)).abs().mean()  # faces are more like their mirror image than like another
