"""The standardised evaluation: a submission under a track's utility tests and attacks -> a Record.

Every finished piece is written to the work folder under a name made of what it depends on, so an interrupted evaluation
resumes where it stopped and yields the same record.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmark.data.populations import Populations
from benchmark.evaluation import findings
from benchmark.evaluation.eligibility import flags, reasons_unranked
from benchmark.evaluation.membership.blind_gate import blind_gate
from benchmark.evaluation.membership.evidence import Evidence, Shadows, gather, wanted_kinds
from benchmark.evaluation.membership.headline import headline
from benchmark.evaluation.membership.scores import EVALUATION_VERSION, Scores, load_scores, run_attack, save_scores
from benchmark.evaluation.recognition import utility_metrics, verify_photos
from benchmark.evaluation.verified import was_trained_here
from benchmark.interfaces import Access, AttackSpec, Contrast, FaceVeilError, content_hash
from benchmark.protocol import registry
from benchmark.protocol.track import BackboneSpec, ShadowBudget
from benchmark.protocol.tracks import TRACKS
from benchmark.records.record import Provenance, Record
from benchmark.records.results import AttackResult, Gate, Metric
from benchmark.runtime.atomic import write_text
from benchmark.runtime.executor import Engine
from benchmark.runtime.memory import process_peak
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.target import Target
from benchmark.submissions.report import Flag
from benchmark.submissions.submission import Submission
from benchmark.training.build import UNDEFENDED, make_untrained
from benchmark.training.composition import Defenses
from benchmark.training.shadows import Kind, ShadowPool

Step = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """One submission on one track.

    Args:
        cache: signals, shadows and gates, shared by all evaluations.
        init: the weights that fine-tuned shadows start from, where the submission was fine-tuned.
        engine: where missing shadows are trained.
    """

    submission: Submission
    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    step: Step = lambda _text: None
    training: ProgressCallback | None = None
    engine: Engine = field(default_factory=Engine)

    @property
    def work(self) -> Path:
        """The folder of this evaluation's finished pieces."""
        p = self.populations
        settings = p.track.settings("image_size", "roles", "split_seed", "partial_share", "shadows", "head", "training")
        card = self.submission.card
        name = content_hash(
            EVALUATION_VERSION,
            self.submission.submission_id,
            settings,
            p.data_digest,
            p.split_digest,
            card.model_dump(mode="json"),
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
        self._check_initial_weights()
        specs = self._specs(attacks)  # first, so that a wrong name costs nothing
        self.step("checks")
        found = self._pieces.get(
            f"flags-{track.name}", lambda: [f.model_dump(mode="json") for f in flags(self.submission, self.populations)]
        )
        red = tuple(Flag(**f) for f in found)
        self.step("utility")
        utility = self._pieces.get("utility", self._utility)
        self.step("blind gate")
        gate = self._gate()
        results, scores = self._membership(specs, gate)
        top = headline(
            scores,
            Metric(**utility["metrics"]["tar@far=1e-3"]),
            tuple(utility["replicates"]),
            track.split_seed,
        )
        defenses = self._defenses()
        stated = len(self.submission.card.defenses)
        return Record(
            protocol_version=track.version,
            track=track.name,
            board=self.board,
            card=self.submission.card,
            utility={name: Metric(**m) for name, m in utility["metrics"].items()},
            membership=tuple(results),
            gate=gate,
            headline=top,
            complete=attacks is None and all(r.status != "failed" for r in results),
            unranked=self._off_protocol() + reasons_unranked(attacks is None, gate, results, defenses, stated, red),
            flags=red,
            attacks={n: registry.info(a) for n, a in registry.membership_attacks().items() if n in {s.name for s, _ in specs}},
            defenses={d.name: registry.info(d) for d in defenses},
            provenance=self._provenance(self._pieces.seconds()),
            **findings.as_record_fields(self.cache, self.submission.submission_id, track.name),
            extra={} if track.conclusive else {"smoke": True},
        )

    def _off_protocol(self) -> tuple[str, ...]:
        """Why the setting itself is not the track's, where one of that name ships with the project."""
        standard = TRACKS.get(self.populations.track.name, self.populations.track)
        changed = standard.digest != self.populations.track.digest
        return ("the track's settings were changed for this evaluation",) if changed else ()

    def _check_initial_weights(self) -> None:
        start = self.submission.card.initialised_from
        if start and self.init is None and self.populations.track.shadows != ShadowBudget():
            raise FaceVeilError(
                f"this submission was fine-tuned from {start!r}: pass those weights with --init, so that the attacker's shadow "
                "backbones start from them, too."
            )

    @property
    def board(self) -> str:
        """``verified`` where this installation trained these very weights from the card's defence, else ``weights``."""
        return "verified" if was_trained_here(self.cache, self.submission, self.populations) else "weights"

    def _utility(self) -> dict[str, Any]:
        target = Target(self.submission, Access.EMBEDDING, self.device)
        result = verify_photos(
            target, self.populations.verification, seed=self.populations.track.split_seed, cache=self.cache / "signals"
        )
        metrics = {name: m.model_dump(mode="json") for name, m in utility_metrics(result).items()}
        return {"metrics": metrics, "replicates": [round(float(r), 5) for r in result.replicates]}

    def _gate(self) -> Gate:
        p = self.populations
        start = self.init.submission_id if self.init else None
        name = content_hash(EVALUATION_VERSION, p.track.digest, p.data_digest, p.split_digest, start)
        path = self.cache / "gates" / f"{name}.json"
        if not path.exists():
            work = self.cache / "shadows"
            blind = {"untrained backbone": make_untrained(p.track, work)}
            for shadow in ShadowPool(p, work, self.device).auxiliary(UNDEFENDED, p.track.backbone, progress=self.training):
                blind["public backbone"] = shadow.submission
                break
            if self.init is not None:
                blind["initial weights"] = self.init
            gate = blind_gate(p, blind, p.track.attacks, cache=self.cache / "signals", seed=p.track.split_seed)
            write_text(path, gate.model_dump_json())
        return Gate.model_validate_json(path.read_text(encoding="utf-8"))

    def _defenses(self) -> list[Any]:
        """The card's defences that are known here; one trained elsewhere, or from another plug-in file, may be unknown."""
        known, files = registry.defenses(), self.submission.card.plugin_files
        return [
            registry.build_defense(d)
            for d in self.submission.card.defenses
            if d.name in known and registry.plugin_file_digest(d.name) == files.get(d.name)
        ]

    def _specs(self, attacks: Sequence[AttackSpec] | None) -> list[tuple[AttackSpec, bool]]:
        """(spec, adaptive): the track's attacks and those that know the defence, each once."""
        wanted = [(spec, False) for spec in (self.populations.track.attacks if attacks is None else attacks)]
        if attacks is None:
            wanted += [(spec, True) for defense in self._defenses() for spec in defense.adaptive_attacks()]
        specs: dict[str, tuple[AttackSpec, bool]] = {}
        for spec, adaptive in wanted:
            named = registry.canonical(spec, registry.build_attack(spec))
            specs.setdefault(named.label, (named, adaptive))
        return list(specs.values())

    def _membership(
        self, specs: Sequence[tuple[AttackSpec, bool]], gate: Gate
    ) -> tuple[list[AttackResult], dict[tuple[str, Contrast], Scores]]:
        gathered = cache(lambda: self._evidence([spec for spec, _ in specs]))
        blind = {contrast: gate.best_auc(contrast) for contrast in Contrast}
        results, scores = [], {}
        for spec, adaptive in specs:
            file = registry.plugin_file_digest(spec.name)
            name = f"attack-{content_hash(spec.model_dump(mode='json'), adaptive, blind, *([file] if file else []))}"
            arrays = self.work / f"{name}.npz"
            if not self._pieces.has(name):
                gathered()  # first, so that its seconds are not the attack's
            attack = partial(self._attack, spec, adaptive, gathered, blind, arrays)
            result = AttackResult.model_validate(self._pieces.get(name, attack))
            results.append(result)
            if result.status == "ok" and result.access != Access.HEAD:
                scores.update({(spec.label, c): s for c, s in load_scores(arrays).items()})
        return results, scores

    def _attack(
        self,
        spec: AttackSpec,
        adaptive: bool,
        gathered: Callable[[], Evidence],
        blind: Mapping[Contrast, float],
        arrays: Path,
    ) -> dict[str, Any]:
        self.step(f"attack {spec.label}")
        result, scores = run_attack(spec, gathered(), adaptive=adaptive, blind=blind, seed=self.populations.track.split_seed)
        save_scores(arrays, scores)
        return result.model_dump(mode="json")

    def _evidence(self, specs: Sequence[AttackSpec]) -> Evidence:
        started = time.perf_counter()
        self.step("signals")
        target = Target(self.submission, Access.HEAD, self.device)  # each attack is narrowed to what it declares
        evidence = gather(target, self.populations, specs, shadows=self._shadows(specs), cache=self.cache / "signals")
        self._pieces.note("signals", time.perf_counter() - started)
        return evidence

    def _shadows(self, specs: Sequence[AttackSpec]) -> Shadows:
        """Auxiliary ones under the card's own defence, where it is known here, and the track's query pool.

        Those that the attacks want are trained first, as many at once as the engine runs.
        """
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        card = self.submission.card
        backbone = self.init.card.backbone if self.init else self.populations.track.backbone
        makers: dict[Kind, tuple[Defenses, BackboneSpec]] = dict.fromkeys(("photos", "people"), (UNDEFENDED, backbone))
        if len(self._defenses()) == len(card.defenses):
            makers["auxiliary"] = (card.defenses, card.backbone)
        recipes = [r for k in sorted(wanted_kinds(specs) & set(makers)) for r in pool.recipes(k, *makers[k], self.init)]
        pool.train_missing(recipes, self.engine, self.step)
        options = {"init": self.init, "progress": self.training}
        auxiliary = pool.auxiliary(*makers["auxiliary"], **options) if "auxiliary" in makers else ()
        return Shadows(
            auxiliary, pool.query_pool("photos", backbone, **options), pool.query_pool("people", backbone, **options)
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


def device_name(device: torch.device | str) -> str:
    """The device's kind and, for a GPU, its model."""
    kind = torch.device(device)
    return f"{kind.type}: {torch.cuda.get_device_name(kind)}" if kind.type == "cuda" else kind.type
