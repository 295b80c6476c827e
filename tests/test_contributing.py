"""The examples of CONTRIBUTING.md are plug-ins that load and work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import AttackSpec, Contrast, DefenseSpec, Signals
from benchmark.models import backbones
from benchmark.protocol import registry
from benchmark.protocol.tracks import get_track

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(
        ("defense", "attack", "signal", "track", "backbone"),
        re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL),
        strict=True,
    )
)


@pytest.fixture
def load(tmp_path, plugin_table):
    def load(kind: str) -> tuple[str, ...]:
        path = tmp_path / f"{kind}.py"
        path.write_text(EXAMPLES[kind])
        return registry.load_plugin_file(path)

    return load


def test_the_defense(load):
    assert load("defense") == ("weight_noise",)
    layer = torch.nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    defense = registry.build_defense(DefenseSpec(name="weight_noise", settings={"sigma": 0.1}))
    defense.release(layer, type("Context", (), {"seed": 3}))
    assert 0 < (layer.weight - before).abs().max() < 1
    assert defense.adaptive_attacks()


def test_the_attack(load):
    assert load("attack") == ("flip_distance",)
    attack = registry.build_attack(AttackSpec(name="flip_distance"))
    plain, flipped = (request.key for request in attack.requests())
    values = {plain: np.eye(3), flipped: np.eye(3)[[0, 2, 2]]}
    assert attack.score(Signals(values, np.arange(3))).tolist() == [1, 0, 1]


def test_the_signal(load, flow):
    assert load("signal") == ("embedding_spread",)
    spec = AttackSpec(name="embedding_spread")
    evidence = flow.evidence([spec])
    scores = run_contrast(spec, evidence, Contrast.SAMPLE)
    size = flow.track.backbone.kwargs["embedding_size"]
    assert len(np.unique(scores.score)) > len(scores.score) / 2
    assert ((-np.log(size) <= scores.score) & (scores.score <= 0)).all()


def test_the_track(load):
    assert load("track") == ("my-faces",)
    assert get_track("my-faces").image_size == 40
    assert get_track("my-faces[head=softmax]").head.name == "softmax"


def test_the_backbone(load):
    assert load("backbone") == ("two_layers",)
    assert backbones.create("two_layers", {"embedding_size": 16})(torch.zeros(2, 3, 24, 24)).shape == (2, 16)


WALK = TEXT.split("## Where things are\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", WALK))))
def test_what_the_walk_points_at_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("names", "path"), re.findall(r"((?:`\w+`(?:,| and)?\s+)+)(?:of a file )?in\s+`([\w/]+\.py)`", WALK))
def test_the_names_of_the_walk_are_defined_there(names, path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+)`", names):
        assert re.search(rf"^(?:def |class ){name}\b|^{name}\b", text, re.MULTILINE), f"{path} does not define {name}"
