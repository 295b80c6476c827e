"""The ways of the bench: the same optimisation, whichever is fastest."""

from __future__ import annotations

import pytest
import torch
from photo_arrays import target_of
from torch import nn

from attacks.bench import measure, ways
from attacks.generators.stylegan2 import Generator
from benchmark.interfaces import Access
from benchmark.runtime.seeding import seeded


@pytest.fixture(scope="module")
def rows():
    with seeded(0):
        generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8).eval()
        backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(196, 12))
    target = target_of(backbone.eval(), Access.WEIGHTS, size=16)
    before = [p.requires_grad for p in (*generator.parameters(), *backbone.parameters())]
    found = measure(generator, target, 16, images=4, iterations=5, batch=2)
    assert [p.requires_grad for p in (*generator.parameters(), *backbone.parameters())] == before
    assert all(p.grad is None for p in generator.parameters())
    return found


def test_every_step_reaches_the_objective_of_the_plain_loop(rows):
    plain = rows[0]["objective"]
    for row in rows:
        if "bf16" not in row["name"]:
            assert row["objective"] == pytest.approx(plain, abs=2e-3), row["name"]
    assert all(row["rate"] > 0 for row in rows if row["rate"] is not None)


def test_each_step_says_what_it_gave_over_the_row_it_changes(rows):
    rate = [row["rate"] for row in rows]
    assert [row["gain"] for row in rows[:4]] == pytest.approx([r / rate[0] for r in rate[:4]], abs=1e-3)
    assert [row["step"] for row in rows[1:4]] == pytest.approx([rate[i] / rate[i - 1] for i in (1, 2, 3)], abs=1e-3)
    for way in ways(2, torch.device("cuda"))[1:]:
        assert way.after < ways(2, torch.device("cuda")).index(way)


def test_the_first_row_is_the_plain_loop(rows):
    assert rows[0]["name"].startswith("plain")
    assert len(rows) == len(ways(2, torch.device("cpu"))) == 5


def test_a_gpu_is_tried_with_compilation_and_graphs():
    names = [way.name for way in ways(8, torch.device("cuda"))]
    assert any("CUDA graphs" in name for name in names)
