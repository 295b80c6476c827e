from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import alexnet

from benchmark.evaluation.inversion import lpips as lpips_module
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.interfaces import FaceVeilError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The convolutions of an AlexNet with random weights, under torchvision's names."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(alexnet(weights=None).features.state_dict(prefix="features."), path)
    return path


@pytest.fixture(scope="module")
def lpips(weights):
    return Lpips(weights)


def pictures(count: int, side: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(side))


def test_equals_torchmetrics(lpips, weights):
    """Another implementation, with the same weights."""
    from torchmetrics.functional.image.lpips import _LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = _LPIPS(pretrained=True, net="alex", pnet_rand=True, use_dropout=True).eval()
    convolutions = [m for m in other.net.modules() if isinstance(m, nn.Conv2d)]
    state = torch.load(weights, weights_only=True)
    for layer, name in zip(convolutions, (0, 3, 6, 8, 10), strict=True):
        layer.load_state_dict({kind: state[f"features.{name}.{kind}"] for kind in ("weight", "bias")})
    one, two = pictures(5), pictures(5).flip(0)
    with torch.no_grad():
        expected = other(one.float() / 127.5 - 1, two.float() / 127.5 - 1).flatten().numpy()
    assert expected.max() > 1e-4
    np.testing.assert_allclose(lpips(one, two), expected, rtol=1e-4, atol=1e-7)


def test_nothing_is_between_a_picture_and_itself_and_more_noise_is_further(lpips):
    clean = pictures(3, 64) // 2
    noise = pictures(3, 64)
    near, far = clean + noise // 32, clean + noise // 4
    assert lpips(clean, clean).max() == 0
    assert (lpips(clean, near) < lpips(clean, far)).all()


def test_batches_change_nothing(lpips, monkeypatch):
    one, two = pictures(5), pictures(5).flip(0)
    whole = lpips(one, two)
    monkeypatch.setattr(lpips_module, "_BATCH", 2)
    np.testing.assert_allclose(lpips(one, two), whole, rtol=1e-5)


def test_the_same_tensors_as_safetensors(lpips, weights, tmp_path):
    path = tmp_path / "alexnet.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    assert Lpips(path).digest == lpips.digest


def test_small_pictures_are_refused(lpips):
    with pytest.raises(FaceVeilError, match="at least 31 pixels, these have 30"):
        lpips(pictures(1, 30), pictures(1, 30))
    assert len(lpips(pictures(1, 31), pictures(1, 31))) == 1


class Runs:
    def __reduce__(self):
        return (print, ("this ran",))


def test_files_that_are_not_alexnet_are_refused_with_what_to_fetch(tmp_path, capsys):
    with pytest.raises(FaceVeilError, match=r"there is no file .*alexnet-owt"):
        Lpips(tmp_path / "absent.pth")
    wrong = tmp_path / "wrong.pth"
    torch.save({"features.0.weight": torch.zeros(3, 3)}, wrong)
    with pytest.raises(FaceVeilError, match=r"no tensor features.0.weight of shape \(64, 3, 11, 11\): not AlexNet"):
        Lpips(wrong)
    torch.save([1, 2], wrong)
    with pytest.raises(FaceVeilError, match="state dict"):
        Lpips(wrong)
    wrong.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(FaceVeilError, match="cannot be read as weights"):
        Lpips(wrong)
    assert "this ran" not in capsys.readouterr().out
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(b"\x10")
    with pytest.raises(FaceVeilError, match="cannot be read as weights"):
        Lpips(cut)


def test_without_its_package_it_says_how_to_get_it(weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(FaceVeilError, match=r"faceveil\[perceptual\]"):
        Lpips(weights)
