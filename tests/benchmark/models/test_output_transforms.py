from __future__ import annotations

import pytest
import torch

from benchmark.interfaces import FaceVeilError
from benchmark.models import output_transforms

EMBEDDINGS = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) * 3


def test_none_is_none():
    assert output_transforms.parse(None) is None


def test_noise_is_fresh_per_query_and_repeats_by_seed():
    noise = output_transforms.parse({"kind": "noise", "sigma": 0.5})
    generator = torch.Generator().manual_seed(1)
    first, second = noise.apply(EMBEDDINGS, generator), noise.apply(EMBEDDINGS, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, noise.apply(EMBEDDINGS, torch.Generator().manual_seed(1)))
    unit = torch.nn.functional.normalize(EMBEDDINGS)
    assert (first - unit).square().sum(1).mean().sqrt().item() == pytest.approx(0.5, rel=0.05)


def test_int8_has_255_levels_and_a_bounded_error():
    out = output_transforms.parse({"kind": "int8"}).apply(EMBEDDINGS)
    step = EMBEDDINGS.abs().amax(1, keepdim=True) / 127
    assert ((out - EMBEDDINGS).abs() <= step / 2 + 1e-6).all()
    assert torch.allclose(out / step, (out / step).round(), atol=1e-4)
    assert torch.equal(output_transforms.parse({"kind": "int8"}).apply(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_sign_and_top_k():
    row = torch.tensor([[0.5, -3.0, 0.0, 2.0]])
    assert output_transforms.parse({"kind": "sign"}).apply(row).tolist() == [[1.0, -1.0, 1.0, 1.0]]
    assert output_transforms.parse({"kind": "top_k", "k": 2}).apply(row).tolist() == [[0.0, -3.0, 0.0, 2.0]]
    assert torch.equal(output_transforms.parse({"kind": "top_k", "k": 9}).apply(row), row)


@pytest.mark.parametrize(
    "spec", [{"kind": "noise", "sigma": 0.5}, {"kind": "int8"}, {"kind": "sign"}, {"kind": "top_k", "k": 3}]
)
def test_settings_round_trip(spec):
    assert output_transforms.parse(spec).model_dump() == spec
    assert spec["kind"] in output_transforms.KINDS


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"kind": "blur"}, "Allowed kinds: noise, int8, sign, top_k"),
        ({"sigma": 1.0}, "kind"),
        ({"kind": "noise", "sigma": -1}, "sigma"),
        ({"kind": "noise"}, "sigma"),
        ({"kind": "sign", "code": "x"}, "code"),
    ],
)
def test_refusals(spec, text):
    with pytest.raises(FaceVeilError, match=text):
        output_transforms.parse(spec)
