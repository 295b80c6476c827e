"""The work of a population's evaluation in pieces that run anywhere: signals, blind probes, an attack.

A task is a picklable callable that opens what it needs again in its own process and leaves its result on disk, named by all
that it depends on.  First the backbones are asked about all photos: what one says serves it as a target and all others as
their shadow.  Then every attack plays against all targets in turn: what it makes of a backbone as a shadow, the regrown heads
above all, is the same for every target and is computed once, which is why an attack's targets are one task.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.evaluation.membership.blind_gate import BlindGate
from benchmark.evaluation.membership.pooling import arrays_of, save_scores, scores_in
from benchmark.evaluation.membership.scene import Scene, opened
from benchmark.evaluation.membership.scores import TargetScores, score_target
from benchmark.evaluation.membership.summary import summarise
from benchmark.evaluation.recognition import embed_all, verify_photos
from benchmark.interfaces import Access, AttackSpec, Contrast, content_hash
from benchmark.protocol.registry import plugin_file_digest
from benchmark.records.results import Gate
from benchmark.runtime.checked import intact, writing
from benchmark.runtime.step_cache import Pieces
from benchmark.submissions.submission import Submission, load_submission


@dataclass(frozen=True)
class ReadModels:
    """Signals of some backbones, the photos read once for all of them, and how well the targets among them recognise people."""

    scene: Scene
    numbers: tuple[int, ...]

    def utility(self, number: int) -> str:
        """The name of a target's piece."""
        return f"utility-{number}"

    @property
    def targets(self) -> list[int]:
        return [number for number in self.numbers if number in self.scene.targets]

    @property
    def cached(self) -> bool:
        pieces = Pieces(self.scene.work)
        done = all(pieces.has(self.utility(number)) for number in self.targets)
        return done and all(pieces.has(self.scene.signals_of(number)) for number in self.numbers)

    def __call__(self) -> None:
        here, pieces = opened(self.scene), Pieces(self.scene.work)
        new = [number for number in self.targets if not pieces.has(self.utility(number))]
        if new:
            targets = [here.target(number).with_access(Access.EMBEDDING) for number in new]
            photos, seed = here.populations.verification, here.populations.track.split_seed
            embed_all(targets, photos, cache=self.scene.signals)
            for number, target in zip(new, targets, strict=True):
                started = time.perf_counter()
                result = verify_photos(target, photos, seed=seed, cache=self.scene.signals)
                pieces.keep(self.utility(number), result.to_json(), time.perf_counter() - started)
        here.read(self.numbers)


@dataclass(frozen=True)
class ReadShadows:
    """Signals of the attacker's own shadows on public people."""

    scene: Scene

    @property
    def cached(self) -> bool:
        return Pieces(self.scene.work).has(self.scene.signals_of_shadows)

    def __call__(self) -> None:
        _ = opened(self.scene).auxiliary


@lru_cache(maxsize=16)
def _blind_backbone(path: Path) -> Submission:
    """Read once a process: the folder is named by all that the backbone depends on."""
    return load_submission(path)


@dataclass(frozen=True)
class ProbeBlind:
    """The blind gate's probes of one backbone that saw none of the people asked about, or (``PIXELS``) of no backbone.

    Args:
        blind: such backbones by name, ``which`` one of them.
        numbers: the memberships under which probes try.
        attacks: those that are asked for.
    """

    scene: Scene
    blind: Mapping[str, Path]
    which: str
    numbers: tuple[int, ...]
    folder: Path
    attacks: tuple[AttackSpec, ...]

    def gate(self) -> BlindGate:
        """The gate as this process has it open."""
        loaded = {name: _blind_backbone(path) for name, path in self.blind.items()}
        populations = opened(self.scene).populations
        return BlindGate(populations, loaded, self.numbers, self.folder, self.scene.signals, self.scene.device)

    @property
    def cached(self) -> bool:
        return self.gate().tried(self.which, self.attacks)

    def __call__(self) -> None:
        self.gate().probe(self.which, self.attacks)


@dataclass(frozen=True)
class JudgeGate:
    """The verdict over all blind probes; judged anew in every run, because a probe may have been tried again."""

    probes: tuple[ProbeBlind, ...]

    @property
    def scene(self) -> Scene:
        return self.probes[0].scene

    @property
    def name(self) -> str:
        p = self.probes[0]
        asked = [spec.model_dump(mode="json") for spec in p.attacks]
        return f"gate-{content_hash(asked, {n: path.name for n, path in p.blind.items()}, list(p.numbers))}"

    @property
    def cached(self) -> bool:
        return self.known and Pieces(self.scene.work).has(self.name)

    @property
    def known(self) -> bool:
        """Whether every probe was tried."""
        return all(probe.cached for probe in self.probes)

    def __call__(self) -> None:
        first = self.probes[0]
        verdict = first.gate().run(first.attacks)
        Pieces(self.scene.work).keep(self.name, verdict.model_dump(mode="json"), 0.0)  # the probes took the time

    def verdict(self) -> Gate:
        """What was found.

        Raises:
            FileNotFoundError: the task has not run.
        """
        return Gate.model_validate(Pieces(self.scene.work).read(self.name))


@dataclass(frozen=True)
class RunAttack:
    """One attack against every target, and its result over all of them; the blind gate must have been judged."""

    scene: Scene
    spec: AttackSpec
    adaptive: bool
    gate: JudgeGate

    def _name(self, blind: Mapping[Contrast, float]) -> str:
        file = plugin_file_digest(self.spec.name)
        return f"attack-{content_hash(self.spec.model_dump(mode='json'), self.adaptive, blind, *([file] if file else []))}"

    def _blind(self) -> dict[Contrast, float]:
        """The strongest blind AUC of each contrast."""
        verdict = self.gate.verdict()
        return {contrast: verdict.best_auc(contrast) for contrast in Contrast}

    @property
    def name(self) -> str:
        """Of its result among the evaluation's pieces; its scores stand beside it as ``.npz``."""
        return self._name(self._blind())

    @property
    def scores(self) -> Path:
        """Where the scores of all targets are."""
        return self.scene.work / f"{self.name}.npz"

    def finished(self) -> bool:
        """True where an earlier run has left the result and, undamaged, the scores; the gate must have been judged."""
        return Pieces(self.scene.work).has(self.name) and intact(self.scores)

    def __call__(self) -> None:
        pieces = Pieces(self.scene.work)
        if not self.finished():
            pieces.forget(self.name)
        pieces.get(self.name, self._result)

    def _result(self) -> dict[str, object]:
        found = {number: self._target(number) for number in self.scene.targets}
        seed = self.scene.track.split_seed
        result, scores = summarise(self.spec, found, adaptive=self.adaptive, blind=self._blind(), seed=seed)
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
