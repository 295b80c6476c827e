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

import numpy as np
import torch

from benchmark.data.populations import Populations
from benchmark.evaluation import findings
from benchmark.evaluation.eligibility import flags, reasons_unranked
from benchmark.evaluation.entry import Entry
from benchmark.evaluation.membership.blind_gate import NUMBERS, BlindGate
from benchmark.evaluation.membership.evidence import wants
from benchmark.evaluation.membership.headline import headline
from benchmark.evaluation.membership.pooling import Scores, load_scores
from benchmark.evaluation.membership.scores import EVALUATION_VERSION
from benchmark.evaluation.membership.tasks import ReadModel, RunAttack, Scene
from benchmark.evaluation.recognition import mean_utility
from benchmark.evaluation.verified import all_known, known_defenses
from benchmark.interfaces import Access, AttackSpec, Contrast, FaceVeilError, Knowledge, content_hash
from benchmark.metrics.verification import VerificationResult
from benchmark.protocol import registry
from benchmark.protocol.tracks import TRACKS
from benchmark.records.record import Provenance, Record
from benchmark.records.results import AttackResult, Gate, Headline, Metric
from benchmark.runtime.executor import Engine, Node, Status
from benchmark.runtime.memory import process_peak
from benchmark.runtime.progress import ProgressCallback, duration
from benchmark.runtime.step_cache import Pieces
from benchmark.submissions.report import Flag
from benchmark.submissions.submission import Submission
from benchmark.training.build import UNDEFENDED, make_untrained
from benchmark.training.shadows import ShadowPool

Step = Callable[[str], None]
LOW_FPR = "tpr@fpr=1e-3"


@dataclass(frozen=True)
class Evaluation:
    """One entry on one track.

    Args:
        cache: signals, shadows and gates, shared by all evaluations.
        init: the weights that fine-tuned shadows start from, where the entry was fine-tuned.
        engine: where auxiliary shadows are trained, backbones are read and attacks are run.
    """

    entry: Entry
    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    step: Step = lambda _text: None
    training: ProgressCallback | None = None
    engine: Engine = field(default_factory=Engine)

    @property
    def submission(self) -> Submission:
        """The backbone that stands for the entry: that of the canonical split, or the one handed in."""
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

    @property
    def _pieces(self) -> Pieces:
        return Pieces(self.work)

    def run(self, attacks: Sequence[AttackSpec] | None = None) -> Record:
        """Evaluates, resuming what an earlier run finished.

        Args:
            attacks: a selection, for a quick look; the record is then incomplete and not ranked.
        """
        track = self.populations.track
        specs = self._specs(attacks)  # first, so that a wrong name costs nothing
        self.step("checks")
        found = self._pieces.get(
            f"flags-{track.name}", lambda: [f.model_dump(mode="json") for f in flags(self.submission, self.populations)]
        )
        red = tuple(Flag(**f) for f in found)
        scene = self._scene([spec for spec, _ in specs])
        utility, replicates = self._read(scene)
        gate = self._gate([spec for spec, adaptive in specs if not adaptive])
        results, scores = self._membership(scene, specs, gate)
        defenses = known_defenses(self.submission.card)
        stated = len(self.submission.card.defenses)
        return Record(
            protocol_version=track.version,
            track=track.name,
            board=self.entry.board,
            card=self.submission.card,
            utility=utility,
            membership=tuple(results),
            gate=gate,
            headline=self._headline(results, scores, utility, replicates, gate),
            complete=attacks is None and all(r.status != "failed" for r in results),
            unranked=self._off_protocol() + reasons_unranked(attacks is None, gate, results, defenses, stated, red),
            flags=red,
            attacks={n: registry.info(a) for n, a in registry.membership_attacks().items() if n in {s.name for s, _ in specs}},
            defenses={d.name: registry.info(d) for d in defenses},
            provenance=self._provenance(self._pieces.seconds()),
            **findings.as_record_fields(self.cache, self.submission.submission_id, track.name),
            extra={} if track.conclusive else {"smoke": True},
            population=tuple(model.submission_id for model in self.entry.models),
            shadows=self.entry.shadows,
        )

    def _off_protocol(self) -> tuple[str, ...]:
        """Why the setting itself is not the track's, where one of that name ships with the project."""
        standard = TRACKS.get(self.populations.track.name, self.populations.track)
        changed = standard.digest != self.populations.track.digest
        return ("the track's settings were changed for this evaluation",) if changed else ()

    def _specs(self, attacks: Sequence[AttackSpec] | None) -> list[tuple[AttackSpec, bool]]:
        """(spec, adaptive): the track's attacks and those that know the defence, each once."""
        wanted = [(spec, False) for spec in (self.populations.track.attacks if attacks is None else attacks)]
        if attacks is None:
            known = known_defenses(self.submission.card)
            wanted += [(spec, True) for defense in known for spec in defense.adaptive_attacks()]
        specs: dict[str, tuple[AttackSpec, bool]] = {}
        for spec, adaptive in wanted:
            named = registry.canonical(spec, registry.build_attack(spec))
            specs.setdefault(named.label, (named, adaptive))
        return list(specs.values())

    def _scene(self, specs: Sequence[AttackSpec]) -> Scene:
        p = self.populations
        return Scene(
            track=p.track,
            data=p.data,
            photos=p.cache,
            public=p.public_data,
            models=tuple(_on_disk(model) for model in self.entry.models),
            ids=tuple(model.submission_id for model in self.entry.models),
            targets=self.entry.targets,
            auxiliary=self._auxiliary(specs),
            specs=tuple(specs),
            work=self.work,
            signals=self.cache / "signals",
            device=str(self.device),
            plugins=registry.plugin_files(),
        )

    def _auxiliary(self, specs: Sequence[AttackSpec]) -> tuple[Path, ...]:
        """Folders of the attacker's shadows on public people, trained where an attack wants them: under the card's own defence,
        where it is known here.
        """
        card = self.submission.card
        if not wants(specs, Knowledge.AUXILIARY) or not all_known(card):
            return ()
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        recipes = pool.recipes(card.defenses, card.backbone, self.init)
        pool.train_missing(recipes, self.engine, self.step)
        return tuple(_on_disk(pool.trained(recipe, self.training)) for recipe in recipes)

    def _read(self, scene: Scene) -> tuple[dict[str, Metric], np.ndarray]:
        """Signals of every backbone; utility over the targets, with the replicates of its headline."""
        tasks = [ReadModel(scene, number) for number in range(len(scene.models))]
        self.step("signals and utility")
        self._do(Node(task.name, task, kind="read", label=f"backbone {task.number} read") for task in tasks)
        found = [VerificationResult.from_json(self._pieces.read(tasks[number].name)) for number in scene.targets]
        return mean_utility(found, seed=self.populations.track.split_seed)

    def _do(self, nodes: Iterable[Node]) -> None:
        """Runs tasks wherever the engine does, and says which have finished."""

        def report(status: Status) -> None:
            if status.finished is not None:
                left = "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"
                name = status.finished.label or status.finished.name
                self.step(f"{name}: done, {status.done} of {status.total}{left}")

        self.engine.run_graph(nodes, report)

    def _gate(self, attacks: Sequence[AttackSpec]) -> Gate:
        p, work = self.populations, self.cache / "shadows"
        blind = {"untrained backbone": make_untrained(p.track, work)}
        pool = ShadowPool(p, work, self.device)
        for recipe in pool.recipes(UNDEFENDED, p.track.backbone)[:1]:
            blind["public backbone"] = pool.trained(recipe, self.training)
        if self.init is not None:
            blind["initial weights"] = self.init
        numbers = self.entry.targets[:NUMBERS]
        gate = BlindGate(p, blind, numbers, self.cache / "gates", self.cache / "signals", self.device, self.step)
        return gate.run(attacks)

    def _membership(
        self, scene: Scene, specs: Sequence[tuple[AttackSpec, bool]], gate: Gate
    ) -> tuple[list[AttackResult], dict[tuple[str, Contrast], Scores]]:
        blind = {contrast: gate.best_auc(contrast) for contrast in Contrast}
        tasks = [RunAttack(scene, spec, adaptive, blind) for spec, adaptive in specs]
        nodes = []
        for task in tasks:
            label = task.spec.label
            nodes.append(Node(task.name, task, kind=label, label=f"attack {label}", cached=task.finished()))
        self.step(f"attacks on {len(scene.targets)} targets" if len(scene.targets) > 1 else "attacks")
        self._do(nodes)
        results, scores = [], {}
        for task in tasks:
            result = AttackResult.model_validate(self._pieces.read(task.name))
            results.append(result)
            if result.status == "ok" and result.access != Access.HEAD:
                scores.update({(result.label, c): s for c, s in load_scores(task.scores).items()})
        return results, scores

    def _headline(
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
        return headline(
            {key: s for key, s in scores.items() if gate.passes(key[1])},
            utility["tar@far=1e-3"],
            tuple(round(float(r), 5) for r in replicates),
            people=asked,
            targets=self.entry.targets,
            low_fpr=low,
            seed=p.track.split_seed,
        )

    def _provenance(self, seconds: float) -> Provenance:
        p = self.populations
        return Provenance(
            track_digest=p.track.digest,
            weights_sha256=self.submission.weights_sha256,
            submission_id=self.submission.submission_id,
            data_digest=p.data_digest,
            split_digest=p.split_digest,
            seed=self.submission.card.seed,
            versions={"python": platform.python_version(), **{n: version(n) for n in ("faceveil", "torch", "timm", "opacus")}},
            device=device_name(self.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 2),
            peak_memory_mb=round(process_peak(), 1),
        )


def _on_disk(submission: Submission) -> Path:
    """Where other processes can read a submission."""
    if submission.path is None:
        raise FaceVeilError(f"submission {submission.card.name!r} is in memory alone: pack it, and evaluate what was packed.")
    return submission.path


def device_name(device: torch.device | str) -> str:
    """The device's kind and, for a GPU, its model."""
    kind = torch.device(device)
    return f"{kind.type}: {torch.cuda.get_device_name(kind)}" if kind.type == "cuda" else kind.type
