from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
from record_factory import contrast_result, make_record

from benchmark.interfaces import AttackSpec, Contrast, PluginInfo
from benchmark.records.results import AttackResult
from benchmark.submissions.card import Claim
from benchmark.submissions.report import Flag
from leaderboard.board.columns import COLUMNS
from leaderboard.board.library import build
from leaderboard.tables import details


def row(*records) -> pd.Series:
    board = build(records)
    assert len(board.frame) == 1
    return board.frame.iloc[0]


def test_every_column_is_there_and_explained():
    table = build([make_record()]).frame
    assert list(table.columns) == list(COLUMNS)
    assert all(len(text) > 10 for text in COLUMNS.values())


def test_a_row_says_what_the_record_says():
    record = make_record(
        name="DP",
        defense="dp_sgd",
        settings={"target_epsilon": 8},
        utility=0.6,
        leakage=0.2,
        photos=1200,
        team="Team",
        flags=(Flag(name="norm", severity="warning", reason="declared batch, found group"),),
        card={"claim": Claim(epsilon=8, delta=1e-5, unit="person"), "training": {"seconds": 12.5}},
    )
    found = row(record)
    assert (found["entry"], found["team"], found["family"], found["defense"]) == (
        "DP",
        "Team",
        "Differential privacy",
        "dp_sgd(target_epsilon=8)",
    )
    assert (found["rank"], found["tied"], found["seeds"]) == (1, False, 1)
    assert (found["utility"], found["utility_n"], found["utility_unit"]) == (0.6, 150, "people")
    assert found["utility_low"] < 0.6 < found["utility_high"]
    assert (found["leakage_attack"], found["leakage_contrast"]) == ("regrown_head", "sample")
    assert found["tpr_at_1"] == record.membership[0].contrasts[Contrast.SAMPLE].metrics["tpr@fpr=1e-2"].value
    assert (found["epsilon"], found["epsilon_of"]) == (8, "delta=1e-05, per person, model, tuning not covered")
    assert found["training_seconds"] == 12.5
    assert found["flags"] == "norm (warning): declared batch, found group"
    assert not found["smoke"]


def test_the_strongest_attack_is_per_contrast_and_headless():
    record = make_record(leakage=0.4)
    head = AttackResult(
        spec=AttackSpec(name="true_head"),
        access="head",
        knowledge="none",
        contrasts={Contrast.SAMPLE: contrast_result(Contrast.SAMPLE, 0.95)},
    )
    extra = AttackResult(
        spec=AttackSpec(name="identity_only"),
        access="embedding",
        knowledge="none",
        contrasts={Contrast.IDENTITY: contrast_result(Contrast.IDENTITY, 0.8)},
    )
    found = row(record.model_copy(update={"membership": (*record.membership, head, extra)}))
    assert found["sample_attack"] == "regrown_head"
    assert found["identity_attack"] == "identity_only"
    assert found["identity_auc"] == extra.contrasts[Contrast.IDENTITY].metrics["auc"].value
    assert found["identity_auc_low"] < found["identity_auc"] < found["identity_auc_high"]


def test_seeds_are_averaged_and_an_attack_that_missed_a_seed_does_not_lead():
    runs = [make_record(seed=s, leakage=0.3 + 0.1 * s, photos=1200) for s in range(3)]
    extra = AttackResult(
        spec=AttackSpec(name="once"),
        access="embedding",
        knowledge="none",
        contrasts={Contrast.SAMPLE: contrast_result(Contrast.SAMPLE, 0.99)},
    )
    runs[0] = runs[0].model_copy(update={"membership": (*runs[0].membership, extra)})
    found = row(*runs)
    aucs = [r.membership[0].contrasts[Contrast.SAMPLE].metrics["auc"] for r in runs]
    assert found["seeds"] == 3
    assert found["leakage"] == pytest.approx(0.4)
    assert found["sample_attack"] == "regrown_head"
    assert found["sample_auc"] == pytest.approx(sum(m.value for m in aucs) / 3)
    assert (found["sample_auc_low"], found["sample_auc_high"]) == (aucs[0].low, aucs[2].high)


def test_what_cannot_be_measured_is_missing_not_zero():
    found = row(make_record(photos=600, headline=False))
    for column in ("tpr_at_1", "utility", "leakage", "epsilon", "training_seconds"):
        assert pd.isna(found[column]), column
    assert pd.isna(found["rank"])
    assert "no headline" in found["reasons"]


@pytest.mark.parametrize(
    ("defenses", "expected"),
    [
        (["none"], "No defence"),
        (["dp"], "Differential privacy"),
        (["none", "training"], "Training"),
        (["dp", "training"], "Combined"),
        (["something new"], "Other"),
    ],
)
def test_family(defenses, expected):
    record = make_record()
    infos = {f"d{i}": PluginInfo(name=f"d{i}", summary="s", reference="r", family=f) for i, f in enumerate(defenses)}
    specs = tuple(record.card.defenses[0].model_copy(update={"name": name}) for name in infos)
    card = record.card.model_copy(update={"defenses": specs})
    assert row(record.model_copy(update={"card": card, "defenses": infos}))["family"] == expected


def test_smoke_runs_are_labelled():
    found = row(make_record(extra={"smoke": True}))
    assert found["smoke"]
    assert "too small to conclude from" in found["flags"]


def test_attack_table_has_intervals_and_reasons():
    record = make_record(photos=600)
    table = details.attack_table(record)
    first = table.iloc[0]
    assert first["attack"] == "regrown_head"
    assert first["AUC"].count(".") == 3
    assert first["TPR@1 %"] == "not measurable: 600 negatives, 1000 needed"
    assert len(table) == 3 * 3
    assert details.not_run(record) == [
        "bn_distance(statistics=feature_means): not applicable: the model keeps its BatchNorm statistics"
    ]


def test_reproduce_quotes_what_submitters_wrote():
    record = make_record(defense="dp_sgd", settings={"epsilon": 8.0, "note": "a; rm -rf ~"}, seed=3, track="tr ack")
    train, evaluate = details.reproduce(record).splitlines()
    settings = "--set epsilon=8.0 --set 'note=a; rm -rf ~'"
    assert train == f"faceveil train --track 'tr ack' --defense dp_sgd {settings} --seed 3 --out runs/entry-seed3"
    assert evaluate == "faceveil evaluate runs/entry-seed3 --track 'tr ack' --out record.json"


def test_nothing_here_imports_torch_or_the_statistics_of_scipy():
    """A board must start in a second and fit in a small machine; scipy.stats alone takes a second."""
    views = "[importlib.import_module(f'leaderboard.views.{m.name}') for m in pkgutil.iter_modules(leaderboard.views.__path__)]"
    code = f"import importlib, pkgutil, sys, leaderboard.launch, leaderboard.views; {views}; "
    code += "print([name for name in ('torch', 'scipy.stats') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
