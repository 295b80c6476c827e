"""The work of a population's evaluation in pieces that run anywhere: signals a backbone, scores an attack.

A task is a picklable callable that opens what it needs again in its own process and leaves its result on disk, named by all
that it depends on.  First every backbone is asked once about all photos: what it says serves it as a target and all others as
their shadow.  Then every attack plays against all targets in turn: what it makes of a backbone as a shadow, the regrown heads
above all, is the same for every target and is computed once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.membership.evidence import (
    Evidence,
    ModelSignals,
    ShadowReader,
    ShadowSignals,
    read_model,
    requested,
)
from benchmark.evaluation.membership.pooling import arrays_of, save_scores, scores_in
from benchmark.evaluation.membership.scores import TargetScores, score_target
from benchmark.evaluation.membership.summary import summarise
from benchmark.evaluation.recognition import verify_photos
from benchmark.interfaces import Access, AttackSpec, Contrast, FaceVeilError, Knowledge, SignalRequest, content_hash
from benchmark.protocol.registry import load_plugin_file, plugin_file_digest
from benchmark.protocol.track import Track
from benchmark.runtime.checked import intact, writing
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.shadows import Shadow, auxiliary_people


@dataclass(frozen=True)
class Scene:
    """All that the tasks of one evaluation have in common, as plain data.

    Args:
        models: submissions of the backbones, by number, and the ``ids`` that they must have; ``targets``: numbers of those that
            are attacked.
        auxiliary: folders of the auxiliary shadows, by number.
        specs: every attack that is run.
        work: where this evaluation's finished pieces are kept; ``signals``: those of all evaluations.
    """

    track: Track
    data: Path | None
    photos: Path | None
    public: Path | None
    models: tuple[Path, ...]
    ids: tuple[str, ...]
    targets: tuple[int, ...]
    auxiliary: tuple[Path, ...]
    specs: tuple[AttackSpec, ...]
    work: Path
    signals: Path
    device: str
    plugins: tuple[Path, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Names the scene within a process."""
        return content_hash(json.loads(json.dumps({k: v for k, v in asdict(self).items() if k != "track"}, default=str)))


class OpenScene:
    """A scene in one process: photos and signals, opened when first asked for and shared by the tasks that run there."""

    def __init__(self, scene: Scene) -> None:
        for path in scene.plugins:
            load_plugin_file(path)
        self.scene = scene
        self._models: dict[int, ModelSignals] = {}

    @cached_property
    def populations(self) -> Populations:
        return open_populations(self.scene.track, self.scene.data, self.scene.photos, self.scene.public)

    def submission(self, number: int) -> Submission:
        """One backbone as it was when the evaluation began.

        Raises:
            FaceVeilError: its file was changed meanwhile.
        """
        found = load_submission(self.scene.models[number])
        if found.submission_id != self.scene.ids[number]:
            raise FaceVeilError(f"{self.scene.models[number]} changed while it was evaluated; run the evaluation again.")
        return found

    def target(self, number: int) -> Target:
        return Target(self.submission(number), Access.HEAD, self.scene.device)  # each attack is narrowed to what it declares

    def requests(self, number: int) -> tuple[SignalRequest, ...]:
        """What a backbone is asked for: as a target by every attack, as a shadow by those that have a query pool."""
        if number in self.scene.targets:
            return requested(self.scene.specs)
        return requested(self.scene.specs, lambda attack: attack.knowledge == Knowledge.QUERY_POOL)

    def model(self, number: int) -> ModelSignals:
        """Signals of one backbone."""
        if number not in self._models:
            own = self.populations.numbered(number)
            self._models[number] = read_model(self.target(number), own, self.requests(number), cache=self.scene.signals)
        return self._models[number]

    @cached_property
    def auxiliary(self) -> tuple[list[ShadowSignals], Mapping[str, str]]:
        """Signals of the auxiliary shadows, and what they cannot give."""
        first = self.scene.targets[0]
        model = self.model(first)
        reader = ShadowReader(model.populations, self.scene.specs, model.missing, self.target(first), self.scene.signals, {})
        return reader.auxiliary(self._shadows()), reader.missing_on_shadow

    def _shadows(self) -> list[Shadow]:
        shadows = []
        for number, path in enumerate(self.scene.auxiliary):
            people = auxiliary_people(self.populations, number)
            photos = self.populations.source(people.pairs, f"shadow-{number}")
            shadows.append(Shadow(load_submission(path), photos, people.side))
        return shadows

    def evidence(self, number: int) -> Evidence:
        """What attacks on one target may read: the others are its shadows."""
        pool = [self.model(other) for other in range(len(self.scene.models)) if other != number]
        shadows, missing = self.auxiliary
        return Evidence.of(self.model(number), pool, shadows, missing)


_open: dict[str, OpenScene] = {}


def opened(scene: Scene) -> OpenScene:
    """The scene as this process has it open; the last one is kept."""
    if scene.digest not in _open:
        _open.clear()
        _open[scene.digest] = OpenScene(scene)
    return _open[scene.digest]


@dataclass(frozen=True)
class ReadModel:
    """Signals of one backbone and, of a target, how well it recognises verification people."""

    scene: Scene
    number: int

    @property
    def name(self) -> str:
        return f"utility-{self.number}"

    def __call__(self) -> None:
        here = opened(self.scene)
        pieces = Pieces(self.scene.work)
        if self.number in self.scene.targets:
            pieces.get(self.name, self._utility)
        pieces.timed(f"signals-{self.number}", lambda: here.model(self.number))

    def _utility(self) -> dict[str, object]:
        here = opened(self.scene)
        target = here.target(self.number).with_access(Access.EMBEDDING)
        seed = here.populations.track.split_seed
        return verify_photos(target, here.populations.verification, seed=seed, cache=self.scene.signals).to_json()


@dataclass(frozen=True)
class RunAttack:
    """One attack against every target, and its result over all of them.

    Args:
        blind: the strongest blind AUC of each contrast.
    """

    scene: Scene
    spec: AttackSpec
    adaptive: bool
    blind: Mapping[Contrast, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its result among the evaluation's pieces; its scores stand beside it as ``.npz``."""
        file = plugin_file_digest(self.spec.name)
        parts = [self.spec.model_dump(mode="json"), self.adaptive, self.blind, *([file] if file else [])]
        return f"attack-{content_hash(*parts)}"

    @property
    def scores(self) -> Path:
        """Where the scores of all targets are."""
        return self.scene.work / f"{self.name}.npz"

    def finished(self) -> bool:
        """True where an earlier run has left the result and, undamaged, the scores."""
        return Pieces(self.scene.work).has(self.name) and intact(self.scores)

    def __call__(self) -> None:
        pieces = Pieces(self.scene.work)
        if not self.finished():
            pieces.forget(self.name)
        pieces.get(self.name, self._result)

    def _result(self) -> dict[str, object]:
        found = {number: self._target(number) for number in self.scene.targets}
        seed = self.scene.track.split_seed
        result, scores = summarise(self.spec, found, adaptive=self.adaptive, blind=self.blind, seed=seed)
        save_scores(self.scores, scores)
        return result.model_dump(mode="json")

    def _target(self, number: int) -> TargetScores:
        """Scores of one target; read where an interrupted run has left them."""
        file = plugin_file_digest(self.spec.name)
        name = content_hash(self.spec.model_dump(mode="json"), *([file] if file else []))
        path = self.scene.work / "targets" / f"{name}-{number}.npz"
        if not intact(path):
            save_target(path, score_target(self.spec, opened(self.scene).evidence(number)))
        return load_target(path)


def save_target(path: Path, found: TargetScores) -> None:
    """Scores and costs of one attack on one target as ``.npz``."""
    about = {k: v for k, v in asdict(found).items() if k != "scores"}
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **arrays_of(found.scores)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_target(path: Path) -> TargetScores:
    """What :func:`save_target` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        about["not_applicable"] = {Contrast(c): reason for c, reason in about["not_applicable"].items()}
        return TargetScores(scores_in(arrays), **about)
