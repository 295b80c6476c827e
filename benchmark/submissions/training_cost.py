"""What it takes to train an entry's shadows again: with its own backbone, under its own defences and settings.

A card says how long its training is, so a card could keep a worker for ever.
"""

from __future__ import annotations

from typing import Any

from benchmark.interfaces import Defense, FaceVeilError
from benchmark.protocol import registry
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import TRACKS
from benchmark.submissions.card import Card
from benchmark.submissions.expected_shapes import photo_cost
from benchmark.submissions.problems import Problem


def known_defenses(card: Card) -> list[Defense]:
    """The card's defences that this installation knows, with their settings.

    Raises:
        FaceVeilError: settings out of range.
    """
    return [registry.build_defense(spec) for spec in card.defenses if spec.name in registry.defenses()]


def check_settings(card: Card) -> list[Problem]:
    """Settings that a known defence does not take: refused here, and not by a worker hours later."""
    try:
        known_defenses(card)
    except FaceVeilError as error:
        message = f"card.json: defenses: {str(error)[:600]}"
        return [Problem(part="card", code="defense_settings", message=message, remedy="Edit `defenses` in card.json.")]
    return []


def training_cost(card: Card) -> float | None:
    """Operations of one training in units of the track's own (its backbone, its schedule); None on an unknown track."""
    track = TRACKS.get(card.track)
    if track is None:
        return None
    photo = photo_cost(card.backbone, card.input.size)
    usual = photo_cost(track.backbone, (track.image_size, track.image_size))
    passes = sum(_passes(defense, track) for defense in known_defenses(card)) or track.training.epochs
    return (photo / usual if photo and usual else 1.0) * passes / track.training.epochs


def _passes(defense: Defense, track: Track) -> float:
    """Epochs that a defence trains for, those of its further networks included."""
    settings: dict[str, Any] = defense.settings()
    epochs = max(defense.configure(track.training).epochs, settings.get("epochs") or 0)
    if "rounds" in settings:  # each takes some people's photos
        epochs = settings["rounds"] * min(1.0, settings["users"] / track.roles.pool)
    networks = settings.get("models", 1)  # of an ensemble
    return float(epochs * networks + (settings.get("pretrain_epochs") or 0))
