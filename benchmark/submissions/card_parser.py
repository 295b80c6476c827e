"""Reads a ``card.json`` that nobody vouches for."""

from __future__ import annotations

import difflib
import json
import math
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.models import input_transforms, output_transforms
from benchmark.protocol.track import InputSpec
from benchmark.submissions.bounds import check_bounds
from benchmark.submissions.card import AdditionalData, CanaryNote, Card, Claim
from benchmark.submissions.problems import CardError, Problem, shown

MAX_INPUT = 512  # pixels a side
MAX_CARD_VALUES = 20_000
_EDIT = "Edit card.json."
_NESTED: dict[str, type[BaseModel]] = {
    "additional_data": AdditionalData,
    "backbone": BackboneSpec,
    "canaries": CanaryNote,
    "claim": Claim,
    "defenses": DefenseSpec,
    "input": InputSpec,
}


def parse_card(data: bytes) -> Card:
    """The card in the bytes of a ``card.json``.

    Raises:
        CardError: not JSON, or fields that are unknown, missing or out of range, each named.
    """
    try:
        values = json.loads(_decoded(data), object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
        check_bounds(values, values=MAX_CARD_VALUES)
        json.dumps(values, ensure_ascii=False).encode("utf-8")  # lone surrogates cannot be stored or shown
    except (ValueError, RecursionError) as error:
        message = f"card.json is not valid JSON: {shown(str(error), 160)}."
        raise CardError([_card_problem("card_json", message, _EDIT)]) from None
    try:
        card = Card.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise CardError([_field_problem(details) for details in error.errors()[:20]]) from None
    problems = _contradictions(card)
    if problems:
        raise CardError(problems)
    return card


def _decoded(data: bytes) -> str:
    """The text of a file that an editor may have saved with a byte-order mark, or as UTF-16."""
    if not json.detect_encoding(data).startswith("utf-8"):
        raise ValueError("it is saved as UTF-16 or UTF-32: save it as UTF-8")
    return data.decode("utf-8-sig")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands in it twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number that JSON knows")
    return value


def _card_problem(code: str, message: str, remedy: str) -> Problem:
    return Problem(part="card", code=code, message=message, remedy=remedy)


def _field_problem(details: Any) -> Problem:
    if not details["loc"]:  # of the card as a whole: the message names the place
        return _card_problem("field_value", f"card.json: {details['msg'].removeprefix('Value error, ')}.", _EDIT)
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        model = Card if len(details["loc"]) == 1 else _NESTED[str(details["loc"][0])]
        near = difflib.get_close_matches(str(details["loc"][-1]), model.model_fields, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(model.model_fields)}."
        return _card_problem("unknown_field", f"card.json has a field {shown(where)} that is not known.", hint)
    if details["type"] == "missing":
        return _card_problem("missing_field", f"card.json lacks the field {shown(where)}.", "Add it.")
    message = f"card.json: {shown(where)}: {details['msg']} (given {shown(details['input'])})."
    return _card_problem("field_value", message, _EDIT)


def _contradictions(card: Card) -> list[Problem]:
    problems = []
    if max(card.input.size) > MAX_INPUT:
        message = f"card.json: input.size is {list(card.input.size)}, more than {MAX_INPUT} pixels a side."
        problems.append(_card_problem("input_size", message, "Submit a model for smaller photos."))
    if "front" in card.backbone.kwargs and max(card.input.size) > input_transforms.LARGEST:
        message = (
            f"card.json: input.size is {list(card.input.size)}, more than {input_transforms.LARGEST} pixels a side, which "
        )
        message += "a transform in front of the backbone (`front`) may be given."
        problems.append(_card_problem("input_size", message, "Submit a model for smaller photos."))
    try:
        output_transforms.parse(card.inference)
    except FaceVeilError as error:
        problems.append(_card_problem("inference", f"card.json: {str(error)[:400]}", _EDIT))
    return problems
