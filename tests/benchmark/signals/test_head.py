from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from photo_arrays import noise_photos, target_of
from torch import nn

from benchmark.interfaces import Access, AccessError, NotApplicableError
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec
from benchmark.signals.extraction import HeadClasses, check_applicable, extract
from benchmark.signals.head import HeadOutput

REQUESTS = [HeadOutput(statistic=s) for s in ("loss", "logit", "entropy")]


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 6)).eval()


@pytest.mark.parametrize("kind", ["softmax", "arcface"])
def test_statistics_of_the_own_class_one_photo_at_a_time(kind):
    backbone, photos = net(), noise_photos(people=7)
    photos.identity = photos.identity * 3 + 2  # 2, 5, .. 20
    people = np.array([2, 5, 11, 14, 20])  # 8 and 17 were not trained on
    head = build_head(HeadSpec(name=kind, scale=8.0), 6, len(people), torch.Generator().manual_seed(0))
    nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    target = target_of(backbone, Access.HEAD, head=head.state_dict())
    found = extract(target, photos, REQUESTS, head=HeadClasses(people, 8.0))
    with torch.no_grad():
        logits = head.cosine_logits(backbone(2 * photos.images.float() / 255 - 1)).double()
    for n, person in enumerate(photos.identity):
        values = [float(found[r][n, 0]) for r in REQUESTS]
        if person not in people:
            assert np.isnan(values).all()
            continue
        own = int(np.flatnonzero(people == person)[0])
        p = F.softmax(logits[n], 0).numpy()
        others = [p[j] for j in range(len(people)) if j != own]
        entropy = -(1 - p[own]) * np.log(p[own]) - sum(q * np.log(1 - q) for q in others)
        expected = [-np.log(p[own]), np.log(p[own] / sum(others)), entropy]
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_a_photo_of_overwhelming_confidence_is_finite():
    backbone = net()
    weight = 1e4 * backbone(2 * noise_photos(people=4, each=1).images.float() / 255 - 1).detach()
    target = target_of(backbone, Access.HEAD, head={"weight": weight, "bias": torch.zeros(4)})
    found = extract(target, noise_photos(people=4, each=1), REQUESTS, head=HeadClasses(np.arange(4), 1.0))
    assert all(np.isfinite(found[r]).all() for r in REQUESTS)


def test_what_a_head_must_have():
    classes = HeadClasses(np.arange(5), 32.0)
    request = REQUESTS[0]
    for head, reason in (
        (None, "without its training head"),
        ({"centres": torch.zeros(5, 6)}, "no class centres"),
        ({"weight": torch.zeros(4, 6)}, "4 classes, the people trained on are 5"),
    ):
        with pytest.raises(NotApplicableError, match=reason):
            check_applicable(target_of(net(), Access.HEAD, head=head), request, classes)
    with pytest.raises(AccessError, match="needs 'head' access"):
        extract(target_of(net(), Access.WEIGHTS), noise_photos(), [request], head=classes)


def test_the_cache_knows_the_head_and_whose_classes_it_has(tmp_path):
    backbone, photos, request = net(), noise_photos(people=3), REQUESTS[1]
    weights = [torch.randn(3, 6, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    values = []
    for weight, people in ((weights[0], [0, 1, 2]), (weights[1], [0, 1, 2]), (weights[0], [1, 2, 3])):
        target = target_of(backbone, Access.HEAD, head={"weight": weight})
        values.append(extract(target, photos, [request], head=HeadClasses(np.array(people), 32.0), cache=tmp_path)[request])
    assert not np.array_equal(values[0], values[1])
    assert np.isnan(values[2][photos.identity == 0]).all()
