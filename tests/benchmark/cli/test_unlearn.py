"""``faceveil unlearn``: what is asked for is checked before anything is trained; the study itself is tested with its module."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from attacks.forgetting import Forgetting, Row
from benchmark.cli import unlearn
from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.records.results import Metric


def refusal(*arguments) -> str:
    result = CliRunner().invoke(app, ["unlearn", "--track", "synthetic-smoke", *arguments])
    assert isinstance(result.exception, FaceVeilError), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "prayer"), "no method 'prayer'; one of fine_tuning"),
        (("--shares", "half"), "between 0 and 1"),
        (("--shares", "0.1,1.5"), "between 0 and 1"),
        (("--statistic", "mood"), "no statistic 'mood'; one of centre_cosine"),
    ],
)
def test_wrong_words_cost_no_training(arguments, message, fresh_home):
    assert message in refusal(*arguments)


def test_the_table_says_what_counts_as_forgotten(capsys):
    auc = Metric(value=0.51, low=0.48, high=0.525, n=40, unit="people")
    row = Row(method="dispersion", share=0.05, auc=auc, forgotten=True, utility=0.61, utility_retrained=0.62)
    unlearn.show_forgetting(Forgetting(track="t", backbones=4, statistic="regrown_logit", seed=0, rows=(row,)))
    text = capsys.readouterr().out
    assert "dispersion" in text
    assert "0.47 to 0.53" in text
