from __future__ import annotations

import json

import torch
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.models.backbones import create
from benchmark.submissions.submission import load_submission


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output or result.exception
    return result.stdout


def test_schema_and_fields():
    assert json.loads(run("card", "schema"))["properties"]["defenses"]["description"]
    assert {row["field"] for row in json.loads(run("card", "fields", "--json"))} >= {"name", "team", "claim"}
    assert "example: " in run("card", "fields")


def test_pack(tmp_path):
    torch.manual_seed(0)
    torch.save(create("iresnet_slim", {"input_size": [32, 32]}).state_dict(), tmp_path / "mine.pt")
    out = tmp_path / "packed"
    run(
        "pack", tmp_path / "mine.pt", "--backbone", "iresnet_slim", "--track", "synthetic-smoke", "--team", "Us",
        "--defense", "early_stopping", "--defense-set", "share=0.3", "--out", out,
    )  # fmt: skip
    card = load_submission(out).card
    assert card.defenses[0].settings == {"share": 0.3}
    assert (card.name, card.team, card.track) == ("mine", "Us", "synthetic-smoke")
