from __future__ import annotations

import pytest

from benchmark.evaluation.bench import Stage, Step, stage_of, stages


@pytest.mark.parametrize(
    ("step", "stage"),
    [
        ("undefended, backbone 0", "training"),
        ("early_stopping(share=0.2), auxiliary shadow 0", "training"),
        ("photos drawn, queried", "photos drawn"),
        ("backbones 0, 2 read", "signals and utility"),
        ("auxiliary shadows read", "signals of shadows"),
        ("blind gate, linear on pixels", "blind gate"),
        ("attack bn_lira", "attack bn_lira"),
        ("record", "record"),
    ],
)
def test_every_step_has_a_stage(step, stage):
    assert stage_of(step) == stage


def test_stages_are_counted_in_plain_trainings():
    steps = [Step("undefended, backbone 0", 4.0), Step("undefended, backbone 1", 6.0), Step("attack lira", 2.5)]
    assert stages(steps, plain=5.0) == [Stage("training", 2, 10.0, 2.0), Stage("attack lira", 1, 2.5, 0.5)]
