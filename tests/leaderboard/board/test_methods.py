"""The shipped list of methods is the plug-ins' own."""

from __future__ import annotations

import json

from benchmark.protocol.catalogue import catalogue
from leaderboard.board.methods import FILE, methods


def test_the_file_is_up_to_date():
    present = json.loads(json.dumps(catalogue(), default=str))
    assert json.loads(FILE.read_text()) == present, "run: faceveil list plugins --json > leaderboard/methods.json"


def test_settings_have_a_meaning_or_bounds():
    dp = methods()["defenses/dp_sgd"]
    assert dp["title"] == "DP-SGD"
    assert dp["links"] == ["https://arxiv.org/abs/1607.00133"]
    epsilon = next(field for field in dp["settings"] if field["name"] == "epsilon")
    assert epsilon["default"] == 8.0
    assert epsilon["bounds"].startswith("above 0")
    assert dp["adaptive"]
