"""What the tasks of one evaluation have in common, and how a process has it open: photos, backbones, their signals."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.membership.evidence import (
    Evidence,
    ModelSignals,
    ShadowReader,
    ShadowSignals,
    read_models,
    requested,
)
from benchmark.interfaces import Access, AttackSpec, FaceVeilError, Knowledge, SignalRequest, Signals, content_hash
from benchmark.protocol.registry import build_attacks, load_plugin_file
from benchmark.protocol.track import Track
from benchmark.runtime.checked import intact
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.extraction import SIGNALS_VERSION
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

    def requests(self, number: int) -> tuple[SignalRequest, ...]:
        """What a backbone is asked for: as a target by every attack, as a shadow by those that have a query pool."""
        attacks = build_attacks(self.specs)
        if number in self.targets:
            return requested(attacks)
        return requested(attacks, lambda attack: attack.knowledge == Knowledge.QUERY_POOL)

    def signals_of(self, number: int) -> str:
        """The name of the piece that notes where a backbone's signals are."""
        return f"signals-{number}-{content_hash(SIGNALS_VERSION, [r.key for r in self.requests(number)])}"

    @property
    def signals_of_shadows(self) -> str:
        """The same of the auxiliary shadows."""
        specs = [spec.model_dump(mode="json") for spec in self.specs]
        return f"shadows-{content_hash(SIGNALS_VERSION, specs, [path.name for path in self.auxiliary])}"


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

    def read(self, numbers: Sequence[int]) -> None:
        """Signals of several backbones in one pass over the photos; noted, so that other processes find them."""
        pieces = Pieces(self.scene.work)
        wanted = [number for number in numbers if number not in self._models and not self._found(number)]
        asked = [(self.target(number), self.populations.numbered(number), self.scene.requests(number)) for number in wanted]
        started = time.perf_counter()
        for number, model in zip(wanted, read_models(asked, cache=self.scene.signals), strict=True):
            self._models[number] = model
            note = {"files": files_of(model.signals), "missing": dict(model.missing)}
            pieces.keep(self.scene.signals_of(number), note, (time.perf_counter() - started) / len(wanted))

    def _found(self, number: int) -> bool:
        """Whether a backbone's signals are there already; if so they are opened."""
        note = Pieces(self.scene.work).find(self.scene.signals_of(number))
        own = self.populations.numbered(number)
        signals = note and signals_in(self.scene.signals, note["files"], np.asarray(own.queried.identity))
        if not signals:
            return False
        self.submission(number)  # raises where it is another by now
        self._models[number] = ModelSignals(own, signals, note["missing"])
        return True

    def model(self, number: int) -> ModelSignals:
        """Signals of one backbone."""
        if number not in self._models:
            self.read([number])
        return self._models[number]

    @cached_property
    def auxiliary(self) -> tuple[list[ShadowSignals], Mapping[str, str]]:
        """Signals of the auxiliary shadows, and what they cannot give."""
        pieces, name, shadows = Pieces(self.scene.work), self.scene.signals_of_shadows, self._shadows()
        identity = np.asarray(self.populations.queried.identity)
        if (note := pieces.find(name)) is not None:
            pairs = zip(note["files"], shadows, strict=False)
            found = [_shadow_in(self.scene.signals, files, shadow, identity) for files, shadow in pairs]
            if all(found):
                return [signals for signals in found if signals], note["missing"]
        started = time.perf_counter()
        first = self.scene.targets[0]
        model, attacks = self.model(first), build_attacks(self.scene.specs)
        reader = ShadowReader(model.populations, attacks, model.missing, self.target(first), self.scene.signals, {})
        read, missing = reader.auxiliary(shadows), reader.missing_on_shadow
        files = [[files_of(s.signals), None if s.queried is None else files_of(s.queried)] for s in read]
        pieces.keep(name, {"files": files, "missing": missing}, time.perf_counter() - started)
        return read, missing

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


def files_of(signals: Signals) -> dict[str, str]:
    """The names of the files that signals are mapped from."""
    return {key: Path(str(value.filename)).name for key, value in signals.values.items()}  # type: ignore[attr-defined]


def signals_in(folder: Path, files: Mapping[str, str], identity: np.ndarray) -> Signals | None:
    """Signals opened from their files; None where one is gone or damaged."""
    paths = {key: folder / name for key, name in files.items()}
    if not all(intact(path) for path in paths.values()):
        return None
    return Signals({key: np.load(path, mmap_mode="r") for key, path in paths.items()}, identity)


def _shadow_in(
    folder: Path, files: tuple[dict[str, str], dict[str, str] | None], shadow: Shadow, identity: np.ndarray
) -> ShadowSignals | None:
    own = signals_in(folder, files[0], np.asarray(shadow.photos.identity))
    queried = signals_in(folder, files[1], identity) if files[1] is not None else None
    if own is None or (files[1] is not None and queried is None):
        return None
    return ShadowSignals(own, shadow.side, queried)


KEPT = 4  # scenes that a process keeps open: those of entries that are evaluated together
_open: dict[str, OpenScene] = {}


def opened(scene: Scene) -> OpenScene:
    """The scene as this process has it open; the last few are kept."""
    found = _open.pop(scene.digest, None) or OpenScene(scene)
    _open[scene.digest] = found  # the last one that was asked for is the last to go
    while len(_open) > KEPT:
        del _open[next(iter(_open))]
    return found
