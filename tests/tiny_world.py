"""Tracks small enough for tests, on procedural faces of 32 pixels.

``TINY`` plants a leak: few people, two seen photos each, a net that is wide for them and a head whose loss falls with the
length of the embedding, so that seen photos stand apart in every signal.  ``FLOW`` runs from end to end in seconds and
shows nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark.interfaces import AttackSpec, BackboneSpec, Knowledge
from benchmark.protocol import Budget, HeadSpec, Roles, Track, TrainingConfig
from benchmark.tracks import TRACKS

TINY = Track(
    name="tiny",
    summary="Overfits in seconds: a planted leak.",
    source="synthetic",
    image_size=32,
    roles=Roles(members=80, held_out=80, verification=45, auxiliary=100, judges=4, seen=2, unseen=2),
    backbone=BackboneSpec(name="iresnet_slim", kwargs={"embedding_size": 32}),
    head=HeadSpec(name="softmax", margin=0.0),
    training=TrainingConfig(epochs=30, batch_size=32, optimizer="adamw", lr=0.003),
    partial_share=0.5,
    shadows={Knowledge.AUXILIARY: 1},
    attacks=(AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head")),
    budget=Budget(cpu_minutes=0.2),
    conclusive=False,
)

FLOW = Track(
    name="tiny-flow",
    summary="Every step in seconds: too small to show anything.",
    source="synthetic",
    image_size=32,
    roles=Roles(members=12, held_out=12, verification=40, auxiliary=20, judges=2, seen=2, unseen=2),
    backbone=BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16}),
    head=HeadSpec(name="softmax", margin=0.0),
    training=TrainingConfig(epochs=2, batch_size=12, lr=0.05),
    partial_share=0.5,
    shadows={Knowledge.AUXILIARY: 1},
    attacks=(
        AttackSpec(name="bn_distance"),
        AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"}),
        AttackSpec(name="embedding_norm"),
        AttackSpec(name="regrown_head"),
    ),
    budget=Budget(cpu_minutes=0.1),
    conclusive=False,
)


def command() -> list[str]:
    """``faceveil`` with the two tracks beside its own, as the start of a command line for another process."""
    here = str(Path(__file__).parent)
    # appended, because tests/benchmark would hide the package
    code = f"import sys; sys.path.append({here!r}); import tiny_world; tiny_world.main()"
    return [sys.executable, "-c", code]


def main() -> None:
    """What :func:`command` runs."""
    from benchmark.cli import main as faceveil

    TRACKS.update({track.name: track for track in (TINY, FLOW)})
    faceveil()
