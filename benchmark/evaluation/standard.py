"""The standardised evaluation: an entry under a track's utility tests and attacks -> a Record.

Every finished piece is written to the work folder under a name made of what it depends on, so an interrupted evaluation
resumes where it stopped and yields the same record.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmark.data.populations import Populations
from benchmark.evaluation import findings
from benchmark.evaluation.eligibility import reasons_unranked
from benchmark.evaluation.entry import Entry
from benchmark.evaluation.membership.blind_gate import NUMBERS, PIXELS
from benchmark.evaluation.membership.evidence import wants
from benchmark.evaluation.membership.headline import headline as membership_headline
from benchmark.evaluation.membership.pooling import Scores, load_scores
from benchmark.evaluation.membership.scene import Scene
from benchmark.evaluation.membership.scores import EVALUATION_VERSION
from benchmark.evaluation.membership.tasks import JudgeGate, ProbeBlind, ReadModels, ReadShadows, RunAttack
from benchmark.evaluation.plan import CheckEntry, Outline, Steps, grouped
from benchmark.evaluation.recognition import mean_utility
from benchmark.evaluation.verified import all_known, known_defenses
from benchmark.interfaces import Access, AttackSpec, Contrast, Defense, FaceVeilError, Knowledge, MembershipAttack, content_hash
from benchmark.metrics.verification import VerificationResult
from benchmark.protocol import registry
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import TRACKS
from benchmark.records.record import Provenance, Record
from benchmark.records.results import AttackResult, Gate, Headline, Metric
from benchmark.runtime.executor import Engine, Node, Status
from benchmark.runtime.memory import process_peak
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.step_cache import Pieces
from benchmark.submissions.report import Flag
from benchmark.submissions.submission import Submission
from benchmark.training.build import make_untrained
from benchmark.training.shadows import ShadowPool

Step = Callable[[str], None]
LOW_FPR = "tpr@fpr=1e-3"


class Wanted(NamedTuple):
    """An attack that an evaluation runs, by its canonical spec.

    Attributes:
        attack: says what it needs; for every fit another is built.
        adaptive: it knows the defence.
    """

    spec: AttackSpec
    attack: MembershipAttack
    adaptive: bool


def wanted_attacks(track: Track, defenses: Iterable[Defense], attacks: Sequence[AttackSpec] | None = None) -> list[Wanted]:
    """The track's attacks and those that know the defences, or a selection; each once."""
    named = [(spec, False) for spec in (track.attacks if attacks is None else attacks)]
    if attacks is None:
        named += [(spec, True) for defense in defenses for spec in defense.adaptive_attacks()]
    wanted: dict[str, Wanted] = {}
    for given, adaptive in named:
        attack = registry.build_attack(given)
        spec = registry.canonical(given, attack)
        wanted.setdefault(spec.label, Wanted(spec, attack, adaptive))
    return list(wanted.values())


@dataclass(frozen=True)
class Evaluation:
    """One entry on one track.

    Args:
        cache: signals, shadows and gates, shared by all evaluations.
        init: the weights that fine-tuned shadows start from, where the entry was fine-tuned.
        engine: where auxiliary shadows are trained, backbones are read and attacks are run.
        tasks: called with how far the graph of the evaluation's steps is.
    """

    entry: Entry
    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    step: Step = lambda _text: None
    training: ProgressCallback | None = None
    engine: Engine = field(default_factory=Engine)
    tasks: Callable[[Status], None] = lambda _status: None

    @property
    def submission(self) -> Submission:
        """The backbone that stands for the entry: that of the canonical split, or the one submitted."""
        return self.entry.submission

    @cached_property
    def work(self) -> Path:
        """The folder of this evaluation's finished pieces."""
        p = self.populations
        settings = p.track.settings(
            "image_size", "roles", "split_seed", "partial_share", "shadows", "head", "training", "population"
        )
        name = content_hash(
            EVALUATION_VERSION,
            [model.submission_id for model in self.entry.models],
            list(self.entry.targets),
            settings,
            p.data_digest,
            p.split_digest,
            self.submission.card.model_dump(mode="json"),
            self.init.submission_id if self.init else None,
        )
        return self.cache / "evaluations" / name

    def run(self, attacks: Sequence[AttackSpec] | None = None) -> Record:
        """Evaluates, resuming what an earlier run finished.

        Args:
            attacks: a selection, for a quick look; the record is then incomplete and not ranked.
        """
        planned = self.plan(attacks)
        self.engine.run_graph(planned.nodes, self.tasks)
        return planned.record()

    def plan(self, attacks: Sequence[AttackSpec] | None = None, label: str = "") -> Planned:
        """Everything that there is to do, for a graph of its own or one of several entries.

        Args:
            label: tells the entry from others in the same graph.
        """
        wanted = wanted_attacks(self.populations.track, known_defenses(self.submission.card), attacks)
        scene = self._scene(wanted)
        gate = JudgeGate(self._probes(scene, [one.spec for one in wanted if not one.adaptive]))
        if gate.known:
            gate()  # from probes that are there: which attacks are finished depends on it
        steps = Steps(
            check=CheckEntry(scene, self.entry.models.index(self.submission)),
            reads=tuple(ReadModels(scene, group) for group in grouped(range(len(scene.models)), self.engine.workers)),
            shadows=ReadShadows(scene) if scene.auxiliary else None,
            probes=gate.probes,
            gate=gate,
            attacks=tuple(RunAttack(scene, one.spec, one.adaptive, gate) for one in wanted),
        )
        return Planned(self, attacks is None, steps, Outline(self.populations.track, self.work.name, label).nodes(steps))

    def off_protocol(self) -> tuple[str, ...]:
        """Why the setting itself is not the track's, where one of that name ships with the project."""
        standard = TRACKS.get(self.populations.track.name, self.populations.track)
        changed = standard.digest != self.populations.track.digest
        return ("the track's settings were changed for this evaluation",) if changed else ()

    def _scene(self, wanted: Sequence[Wanted]) -> Scene:
        p = self.populations
        return Scene(
            track=p.track,
            data=p.data,
            photos=p.cache,
            public=p.public_data,
            models=tuple(_on_disk(model) for model in self.entry.models),
            ids=tuple(model.submission_id for model in self.entry.models),
            targets=self.entry.targets,
            auxiliary=self._auxiliary(wanted),
            specs=tuple(one.spec for one in wanted),
            work=self.work,
            signals=self.cache / "signals",
            device=str(self.device),
            plugins=registry.plugin_files(),
        )

    def _auxiliary(self, wanted: Sequence[Wanted]) -> tuple[Path, ...]:
        """Folders of the attacker's shadows on public people, trained where an attack wants them: under the card's own defence,
        where it is known here.
        """
        card = self.submission.card
        if not wants((one.attack for one in wanted), Knowledge.AUXILIARY) or not all_known(card):
            return ()
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        recipes = pool.recipes(card.defenses, card.backbone, self.init)
        pool.train_missing(recipes, self.engine, self.step)
        return tuple(_on_disk(pool.trained(recipe, self.training)) for recipe in recipes)

    def _probes(self, scene: Scene, attacks: Sequence[AttackSpec]) -> tuple[ProbeBlind, ...]:
        """The blind gate's probes of pixels, and of the backbones that never saw the people asked about."""
        p, work = self.populations, self.cache / "shadows"
        blind = {"untrained backbone": make_untrained(p.track, work)}
        pool = ShadowPool(p, work, self.device)
        for recipe in pool.undefended(self.init):
            blind["public backbone"] = pool.trained(recipe, self.training)
        if self.init is not None:
            blind["initial weights"] = self.init
        paths = {name: _on_disk(submission) for name, submission in blind.items()}
        numbers, folder = self.entry.targets[:NUMBERS], self.cache / "gates"
        return tuple(ProbeBlind(scene, paths, which, numbers, folder, tuple(attacks)) for which in (PIXELS, *paths))

    def headline(
        self,
        results: Sequence[AttackResult],
        scores: Mapping[tuple[str, Contrast], Scores],
        utility: Mapping[str, Metric],
        replicates: np.ndarray,
        gate: Gate,
    ) -> Headline | None:
        """Of the contrasts that no blind probe tells."""
        p = self.populations
        asked = np.unique(p.queried_pairs[~p.labelled, 0])
        low = {(r.label, c): found.metrics[LOW_FPR] for r in results for c, found in r.contrasts.items()}
        return membership_headline(
            {key: s for key, s in scores.items() if gate.passes(key[1])},
            utility["tar@far=1e-3"],
            tuple(round(float(r), 5) for r in replicates),
            people=asked,
            targets=self.entry.targets,
            low_fpr=low,
            seed=p.track.split_seed,
        )

    def provenance(self, seconds: float) -> Provenance:
        p = self.populations
        return Provenance(
            track_digest=p.track.digest,
            weights_sha256=self.submission.weights_sha256,
            submission_id=self.submission.submission_id,
            data_digest=p.data_digest,
            split_digest=p.split_digest,
            seed=self.submission.card.seed,
            versions={
                "python": platform.python_version(),
                **{n: version(n) for n in ("faceveil", "torch", "timm", "opacus")},
                "evaluation": str(EVALUATION_VERSION),
            },
            device=device_name(self.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 2),
            peak_memory_mb=round(process_peak(), 1),
        )


@dataclass(frozen=True)
class Planned:
    """An evaluation whose steps are known; ``nodes`` are to be run before :meth:`record`.

    Args:
        whole: every attack of the track is run, and those that know the defence.
    """

    evaluation: Evaluation
    whole: bool
    steps: Steps
    nodes: list[Node]

    @property
    def _pieces(self) -> Pieces:
        return Pieces(self.evaluation.work)

    def record(self) -> Record:
        """The record of the finished steps."""
        e = self.evaluation
        track, card = e.populations.track, e.submission.card
        red = tuple(Flag(**f) for f in self._pieces.read(self.steps.check.name))
        utility, replicates = self._utility()
        gate = self.steps.gate.verdict()
        results, scores = self._membership()
        defenses = known_defenses(card)
        names = {task.spec.name for task in self.steps.attacks}
        return Record(
            protocol_version=track.version,
            track=track.name,
            board=e.entry.board,
            card=card,
            utility=utility,
            membership=tuple(results),
            gate=gate,
            headline=e.headline(results, scores, utility, replicates, gate),
            complete=self.whole and all(r.status != "failed" for r in results),
            unranked=e.off_protocol() + reasons_unranked(self.whole, gate, results, defenses, len(card.defenses), red),
            flags=red,
            attacks={n: registry.info(a) for n, a in registry.membership_attacks().items() if n in names},
            defenses={d.name: registry.info(d) for d in defenses},
            provenance=e.provenance(self._pieces.seconds()),
            **findings.as_record_fields(e.cache, e.submission.submission_id, track.name),
            extra=self._extra(),
            population=tuple(model.submission_id for model in e.entry.models),
            shadows=e.entry.shadows,
        )

    def _extra(self) -> dict[str, Any]:
        populations = self.evaluation.populations
        smoke = {} if populations.track.conclusive else {"smoke": True}
        return smoke | ({"round": {"secret_sha256": populations.round}} if populations.round else {})

    def _utility(self) -> tuple[dict[str, Metric], np.ndarray]:
        """Over the targets, with the replicates of its headline."""
        names = {number: task.utility(number) for task in self.steps.reads for number in task.targets}
        found = [VerificationResult.from_json(self._pieces.read(names[n])) for n in self.evaluation.entry.targets]
        return mean_utility(found, seed=self.evaluation.populations.track.split_seed)

    def _membership(self) -> tuple[list[AttackResult], dict[tuple[str, Contrast], Scores]]:
        results, scores = [], {}
        for task in self.steps.attacks:
            result = AttackResult.model_validate(self._pieces.read(task.name))
            results.append(result)
            if result.status == "ok" and result.access != Access.HEAD:
                scores.update({(result.label, c): s for c, s in load_scores(task.scores).items()})
        return results, scores


def _on_disk(submission: Submission) -> Path:
    """Where other processes can read a submission."""
    if submission.path is None:
        raise FaceVeilError(
            f"submission {submission.card.name!r} exists only in memory: pack it, then evaluate the packed one."
        )
    return submission.path


def device_name(device: torch.device | str) -> str:
    """The device's kind and, for a GPU, its model."""
    kind = torch.device(device)
    return f"{kind.type}: {torch.cuda.get_device_name(kind)}" if kind.type == "cuda" else kind.type
