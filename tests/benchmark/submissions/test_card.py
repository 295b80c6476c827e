"""What the documentation says of card.json is what the check takes."""

from __future__ import annotations

import json

import pytest

from benchmark.submissions.card import Card, fields
from benchmark.submissions.card_parser import parse_card

ROWS = fields()


def test_every_field_has_a_meaning():
    assert all(len(row["meaning"]) > 10 for row in ROWS)
    assert {row["field"] for row in ROWS if row["required"]} == set(Card.model_json_schema()["required"])


def test_a_card_of_the_examples_is_valid():
    card = {row["field"]: row["example"] for row in ROWS if row["example"] is not None}
    parsed = parse_card(json.dumps(card).encode())
    assert parsed.name == "BN noise 0.5"
    assert parsed.defenses[0].name == "early_stopping"


@pytest.mark.parametrize("row", [r for r in ROWS if r["example"] is not None and not r["required"]], ids=lambda r: r["field"])
def test_each_example_is_valid_alone(row):
    required = {r["field"]: r["example"] for r in ROWS if r["required"]}
    assert parse_card(json.dumps({**required, row["field"]: row["example"]}).encode())
