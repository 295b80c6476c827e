"""The tracks that ship with FaceVeil.  Their settings are the protocol: a change of any is a new protocol version."""

from __future__ import annotations

import re

from benchmark.interfaces import AttackSpec, BackboneSpec, FaceVeilError, unknown
from benchmark.protocol import registry
from benchmark.protocol.track import Budget, Camera, HeadSpec, Roles, ShadowBudget, Track, TrainingConfig
from benchmark.protocol.variants import parse, variant
from benchmark.runtime.rounds import SHORT

# What `faceveil invert` runs on a track that names no inversion attacks of its own: attacks, then the controls.
INVERSION = (
    AttackSpec(name="template"),
    AttackSpec(name="plug_and_play"),
    AttackSpec(name="mirror"),
    AttackSpec(name="black_box_template"),
    AttackSpec(name="bn_guided"),
    AttackSpec(name="deep_inversion"),
    AttackSpec(name="random_latents"),
    AttackSpec(name="nearest_public"),
    AttackSpec(name="nearest_generator_training"),
)


def _attack(name: str, **settings: str) -> AttackSpec:
    return AttackSpec(name=name, settings=settings)


# What every track runs: one pass of each model and a pass of each shadow.
CORE = (
    _attack("bn_distance"),
    _attack("bn_distance", statistic="mean_var"),
    _attack("bn_distance", knowledge="auxiliary"),
    _attack("bn_lira"),
    _attack("bn_lira", knowledge="auxiliary"),
    _attack("bn_rmia"),
    _attack("embedding_norm"),
    _attack("regrown_head"),
    _attack("regrown_head", gallery="mean"),
    _attack("regrown_head", knowledge="query_pool"),
    _attack("regrown_head", gallery="mean", knowledge="query_pool"),
    _attack("lira"),
    _attack("rmia"),
    _attack("lira", statistic="compactness"),
    _attack("lira", statistic="head_logit"),
    _attack("pair_stack"),
)
# What else one pass of each model tells: for backbones whose passes cost as much as their fine-tuning.
ONE_PASS = (
    *CORE,
    _attack("regrown_head", gallery="weighted"),
    _attack("regrown_head", gallery="marginal"),
    _attack("regrown_head", gallery="marginal", counts="unknown"),
    _attack("regrown_head", knowledge="partial"),
    _attack("mint"),
    _attack("quantile"),
    _attack("compactness"),
    _attack("head_loss"),
    _attack("head_entropy"),
    _attack("rmia", statistic="head_logit"),
)
# What the larger tracks run: further passes (ten views, parts, gradients), attacks on people, stacks.
FULL = (
    *ONE_PASS,
    _attack("encoder_mi"),
    _attack("part_crop"),
    _attack("gradient_norm"),
    _attack("face_auditor"),
    _attack("slmia"),
    _attack("ensemble"),
    _attack("ensemble", knowledge="query_pool"),
)

# The founding paper's own attacks (arXiv 2401.13719): the linear attack on the distances d_i in both knowledge settings, and
# StyleGAN inversion guided by it, with the control that nothing guides.
PAPER = (_attack("bn_distance", knowledge="partial"), _attack("bn_distance", knowledge="auxiliary"))
PAPER_INVERSION = (AttackSpec(name="bn_guided"), AttackSpec(name="random_latents"))
PAPER_BACKBONES = (BackboneSpec(name="ir_se_50"), BackboneSpec(name="iresnet50"))

_SLIM = BackboneSpec(name="iresnet_slim")
AT_SCALE = TrainingConfig(epochs=20, batch_size=512, lr=0.1, warmup_epochs=1, flip=True, autocast=True)

_TRACKS = (
    Track(
        name="synthetic-quick",
        summary="Procedural faces, small; quickstart runs it with fewer backbones.",
        source="synthetic",
        image_size=48,
        roles=Roles(pool=720, photos=8, verification=400, public=675, auxiliary=675, judges=100),
        public_domain="studio",
        population=8,
        backbone=_SLIM,
        training=TrainingConfig(epochs=20),
        shadows=ShadowBudget(auxiliary=1),
        attacks=CORE,
        budget=Budget(cpu_minutes=0.5),
        shows_faces=True,
    ),
    Track(
        name="synthetic-smoke",
        summary="The quick track cut down to a smoke run: too small to conclude from.",
        source="synthetic",
        image_size=32,
        roles=Roles(pool=120, photos=8, verification=40, public=100, auxiliary=100, judges=20),
        public_domain="studio",
        population=4,
        backbone=_SLIM,
        training=TrainingConfig(epochs=10),
        shadows=ShadowBudget(auxiliary=1),
        attacks=CORE,
        budget=Budget(cpu_minutes=0.05),
        conclusive=False,
        shows_faces=True,
    ),
    Track(
        name="synthetic-64",
        summary="Procedural faces, the default of the leaderboard.",
        source="synthetic",
        image_size=64,
        roles=Roles(pool=1000, photos=8, verification=400, public=500, auxiliary=950, judges=200),
        public_domain="studio",
        population=16,
        backbone=_SLIM,
        training=TrainingConfig(epochs=40),
        judge_training=TrainingConfig(epochs=20),
        shadows=ShadowBudget(auxiliary=1),
        attacks=FULL,
        budget=Budget(cpu_minutes=2.3),
        shows_faces=True,
    ),
    Track(
        name="synthetic-112",
        summary="Procedural faces at the field's standard size; wants a GPU.",
        source="synthetic",
        image_size=112,
        roles=Roles(pool=1000, photos=8, verification=400, public=500, auxiliary=950, judges=200),
        public_domain="studio",
        population=16,
        backbone=BackboneSpec(name="mobilefacenet"),
        training=TrainingConfig(epochs=40),
        judge_training=TrainingConfig(epochs=20),
        shadows=ShadowBudget(auxiliary=2),
        attacks=FULL,
        budget=Budget(cpu_minutes=30),
        shows_faces=True,
    ),
    Track(
        name="camera-112",
        summary="Aligned faces (--data PATH, such as LFW) through a 20-pixel camera; public weights (--init PATH) fine-tuned.",
        source="folder",
        image_size=112,
        roles=Roles(pool=500, photos=4, verification=500, public=150, auxiliary=100, judges=400),
        public_domain="clean",
        camera=Camera(pixels=20, quality=90),
        population=8,
        backbone=BackboneSpec(name="mobilefacenet"),
        fine_tuning=TrainingConfig(epochs=6, lr=0.01),
        needs_init=True,
        shadows=ShadowBudget(auxiliary=1),
        attacks=ONE_PASS,
        budget=Budget(cpu_minutes=1.3),
    ),
    Track(
        name="faces-112",
        summary="Any set of faces aligned to the ArcFace template (--data PATH), from scratch at 64 px or fine-tuned.",
        source="folder",
        image_size=112,
        roles=Roles(pool=400, photos=4, verification=400, public=150, auxiliary=200, judges=400),
        population=8,
        backbone=BackboneSpec(name="iresnet_slim", kwargs={"input_size": [64, 64]}),
        training=TrainingConfig(epochs=40),
        fine_tuning=TrainingConfig(epochs=6, lr=0.01),
        shadows=ShadowBudget(auxiliary=2),
        attacks=FULL,
        budget=Budget(cpu_minutes=1),
    ),
    Track(
        name="webface-112",
        summary="CASIA-WebFace as its owners have it (--data faces_webface_112x112), from scratch; wants a GPU.",
        source="folder",
        image_size=112,
        roles=Roles(pool=8000, photos=20, verification=500, auxiliary=1000, judges=500),
        population=4,
        backbone=BackboneSpec(name="ir_se_50"),
        head=HeadSpec(name="arcface", scale=64.0, margin=0.5),
        training=AT_SCALE,
        judge_training=AT_SCALE.model_copy(update={"epochs": 10}),
        shadows=ShadowBudget(auxiliary=1),
        attacks=FULL,
        budget=Budget(
            cpu_minutes=5000,
            gpu_minutes=14,
            note="projected, not measured: 40,000 photos x 20 epochs at 1,000 photos a second, one backbone of four",
        ),
    ),
    Track(
        name="ms1m-112",
        summary="MS1M-ArcFace as its owners have it (--data faces_emore), from scratch; wants several GPUs.",
        source="folder",
        image_size=112,
        roles=Roles(pool=60_000, photos=20, verification=2000, auxiliary=8000, judges=4000),
        population=4,
        backbone=BackboneSpec(name="iresnet50"),
        head=HeadSpec(name="arcface", scale=64.0, margin=0.5, sample=0.3),
        training=AT_SCALE,
        judge_training=AT_SCALE.model_copy(update={"epochs": 10}),
        shadows=ShadowBudget(auxiliary=1),
        attacks=FULL,
        budget=Budget(
            cpu_minutes=40_000,
            gpu_minutes=100,
            note="projected, not measured: 300,000 photos x 20 epochs at 1,000 photos a second, one backbone of four",
        ),
    ),
)
TRACKS: dict[str, Track] = {track.name: track for track in _TRACKS}

CANARIES = "+canaries"  # ends the name of a track's variant


def with_canaries(track: Track) -> Track:
    """The variant of a track whose entries were trained with canaries: another name, so another ranking."""
    if track.name.endswith(CANARIES):
        return track
    summary = f"{track.summary} Trained with canaries, for audits."
    return track.model_copy(update={"name": f"{track.name}{CANARIES}", "summary": summary})


def in_round(track: Track, held: str) -> Track:
    """The variant of a synthetic track that is held with the photos of a round: another name, so another ranking.

    Args:
        held: the round's name, or its first digits.

    Raises:
        FaceVeilError: these are no such digits, or the track draws no photos.
    """
    if re.fullmatch(rf"[0-9a-f]{{{SHORT},64}}", held) is None:
        raise FaceVeilError(
            f"{held!r} names no round: give the first {SHORT} or more digits of one that `faceveil round list` shows."
        )
    if track.source != "synthetic":
        raise FaceVeilError(f"track {track.name!r} reads photos: only tracks that draw theirs are held in rounds.")
    return track.model_copy(update={"name": f"{track.name}@{held[:SHORT]}", "round": held[:SHORT]})


def known_tracks() -> dict[str, Track]:
    """The tracks that ship, and those of plug-ins.

    Raises:
        FaceVeilError: a plug-in's track has the name of one that ships.
    """
    outside = registry.tracks()
    if taken := sorted(outside.keys() & TRACKS.keys()):
        raise FaceVeilError(f"a plug-in defines a track {taken[0]!r}, which is the name of a track of FaceVeil. Rename it.")
    return {**TRACKS, **outside}


def get_track(name: str) -> Track:
    """A track by name, or a variant of one.

    Variants are ``NAME[head=softmax]``, a factor changed (see :mod:`benchmark.protocol.variants`), ``NAME+canaries``, for
    audits, and ``NAME@ROUND``, whose photos follow from the secret of a round (see :mod:`benchmark.runtime.rounds`).

    Raises:
        UnknownPluginError: no such track; names the nearest.
    """
    if name.endswith(CANARIES):
        return with_canaries(get_track(name.removesuffix(CANARIES)))
    if "@" in name:
        plain, _, held = name.rpartition("@")
        return in_round(get_track(plain), held)
    base, factors = parse(name)
    known = known_tracks()
    if base not in known:
        raise unknown("track", base, known)
    return variant(known[base], factors)


def get_synthetic(name: str) -> Track:
    """A track that draws its own photos, by name: for measurements, which take no data.

    Raises:
        FaceVeilError: the track reads photos, or there is none of that name.
    """
    track = get_track(name)
    if track.source != "synthetic":
        drawn = ", ".join(sorted(n for n, known in known_tracks().items() if known.source == "synthetic"))
        raise FaceVeilError(f"track {name!r} reads photos; this is measured on one that draws its own: {drawn}.")
    return track
