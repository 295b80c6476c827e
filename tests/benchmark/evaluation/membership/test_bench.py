from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.evaluation.membership.bench import measure
from benchmark.interfaces import AttackSpec, FaceVeilError


def test_every_stage_is_measured(tmp_path: Path) -> None:
    attacks = [AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head", settings={"gallery": "mean"})]
    asked, stages = measure(tmp_path, 250, attacks, "iresnet_slim", 16)
    assert asked == 240  # of 20 people
    names = ["photos opened", "signals", "bn_distance", "regrown_head(gallery=mean)", "metrics with intervals"]
    assert [stage.name for stage in stages] == names
    assert all(stage.seconds > 0 and stage.grew_mb >= 0 for stage in stages)


@pytest.mark.parametrize("settings", [{"knowledge": "query_pool"}, {"knowledge": "auxiliary"}])
def test_attacks_that_want_shadows_are_refused_before_anything_is_written(tmp_path: Path, settings: dict) -> None:
    with pytest.raises(FaceVeilError, match="needs shadow backbones"):
        measure(tmp_path, 250, [AttackSpec(name="regrown_head", settings=settings)], "iresnet_slim", 16)
    assert not list(tmp_path.iterdir())
