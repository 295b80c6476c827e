"""Names that people use."""

from __future__ import annotations

import pytest

from benchmark.interfaces import DefenseSpec
from benchmark.protocol import registry


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("undefended", {}, "undefended"),
        ("dp_sgd", {"epsilon": 8, "preset": "public"}, "DP-SGD, epsilon 8, public start"),
        ("augmentation", {"crop": 0, "erase": 0}, "flips"),
        ("augmentation", {}, "flips, crops, erasing"),
        ("weight_decay", {"decay": 0.02}, "weight decay 0.02"),
        ("early_stopping", {"share": 0.2}, "early stopping at 20% of the epochs"),
        ("norm_swap", {"norm": "layer"}, "LayerNorm for BatchNorm"),
    ],
)
def test_a_defence_has_a_name_that_people_use(name, settings, text):
    defense = registry.build_defense(DefenseSpec(name=name, settings=settings))
    assert defense.display() == text
    assert registry.info(defense).display == text


def test_every_plugin_of_ours_has_a_title():
    tables = (registry.defenses(), registry.membership_attacks(), registry.inversion_attacks())
    ours = [p for table in tables for p in table.values() if p.__module__.split(".")[0] in ("attacks", "defenses")]
    assert not [p.name for p in ours if not p.title]
    titles = [p.title for p in ours]
    assert len(set(titles)) == len(titles)
