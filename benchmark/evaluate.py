"""The standardised evaluation: a submission under a track's utility tests and attacks -> a Record.

Every finished piece is written to the work folder under a name made of what it depends on, so an interrupted evaluation
resumes where it stopped and yields the same record.
"""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import registry
from benchmark.atomic import write_text
from benchmark.checks import red_flags
from benchmark.data.populations import Populations
from benchmark.evidence import Evidence, gather
from benchmark.gate import blind_gate
from benchmark.headline import headline
from benchmark.interfaces import Access, AttackSpec, Contrast, FaceVeilError, Knowledge, content_hash
from benchmark.making import UNDEFENDED, ProgressCallback, make_untrained
from benchmark.membership import Scores, load_scores, run_attack, save_scores
from benchmark.recognition import utility_metrics, verify_photos
from benchmark.record import AttackResult, Flag, Gate, Metric, Provenance, Record
from benchmark.shadows import ShadowPool
from benchmark.submission import Submission
from benchmark.target import Target
from benchmark.verified import was_trained_here

EVALUATION_VERSION = 1  # part of every piece's name: raise it when a metric or an attack changes its meaning
Step = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """One submission on one track.

    Args:
        cache: signals, shadows and gates, shared by all evaluations.
        init: the weights that fine-tuned shadows start from, where the submission was fine-tuned.
    """

    submission: Submission
    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    step: Step = lambda _text: None
    training: ProgressCallback | None = None

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
        )
        return self.cache / "evaluations" / name

    def run(self, attacks: Sequence[AttackSpec] | None = None) -> Record:
        """Evaluates, resuming what an earlier run finished.

        Args:
            attacks: a selection, for a quick look; the record is then incomplete and not ranked.
        """
        started = time.perf_counter()
        track = self.populations.track
        self._check_initial_weights()
        flags = self._piece("flags", self._flags)
        self.step("utility")
        utility = self._piece("utility", self._utility)
        self.step("blind gate")
        gate = self._gate()
        specs = self._specs(attacks)
        results, scores = self._membership(specs, gate)
        top = headline(
            scores,
            Metric(**utility["metrics"]["tar@far=1e-3"]),
            tuple(utility["replicates"]),
            track.split_seed,
        )
        defenses = self._defenses()
        unranked = self._unranked(attacks is None, gate, results, defenses, flags)
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
            unranked=unranked,
            flags=tuple(Flag(**f) for f in flags),
            attacks={n: registry.info(a) for n, a in registry.membership_attacks().items() if n in {s.name for s, _ in specs}},
            defenses={d.name: registry.info(d) for d in defenses},
            provenance=self._provenance(time.perf_counter() - started),
            extra={} if track.conclusive else {"smoke": True},
        )

    def _check_initial_weights(self) -> None:
        start = self.submission.card.initialised_from
        if start and self.init is None and self.populations.track.shadows:
            raise FaceVeilError(
                f"this submission was fine-tuned from {start!r}: pass those weights with --init, so that the attacker's shadow "
                "backbones start from them, too."
            )

    @property
    def board(self) -> str:
        """``verified`` where this installation trained these very weights from the card's defence, else ``weights``."""
        return "verified" if was_trained_here(self.cache, self.submission, self.populations) else "weights"

    def _piece(self, name: str, compute: Callable[[], Any]) -> Any:
        """JSON data, computed once and then read from the work folder."""
        path = self.work / f"{name}.json"
        if not path.exists():
            write_text(path, json.dumps(compute()))
        return json.loads(path.read_text(encoding="utf-8"))

    def _flags(self) -> list[dict[str, Any]]:
        self.step("checks")
        photos = self.populations.verification
        probes = photos.load(np.arange(min(16, len(photos))))
        flags = list(red_flags(self.submission, probes))
        card, track = self.submission.card, self.populations.track
        if card.track != track.name:
            reason = f"The card names track {card.track!r}: on {track.name!r} nobody says what these weights were trained on."
            flags.append(Flag(name="other_track", severity="warning", reason=reason))
        return [flag.model_dump(mode="json") for flag in flags]

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
        """The card's defences that are known here; one trained elsewhere may be unknown."""
        known = registry.defenses()
        return [registry.build_defense(d) for d in self.submission.card.defenses if d.name in known]

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
        evidence: Evidence | None = None
        results, scores = [], {}
        blind = {contrast: gate.best_auc(contrast) for contrast in Contrast}
        for spec, adaptive in specs:
            path = self.work / f"attack-{content_hash(spec.model_dump(mode='json'), adaptive, blind)}.json"
            if not path.exists():
                if evidence is None:
                    evidence = self._evidence([s for s, _ in specs])
                self.step(f"attack {spec.label}")
                result, found = run_attack(
                    spec, evidence, adaptive=adaptive, blind=blind, seed=self.populations.track.split_seed
                )
                save_scores(path.with_suffix(".npz"), found)
                write_text(path, result.model_dump_json())
            result = AttackResult.model_validate_json(path.read_text(encoding="utf-8"))
            results.append(result)
            if result.status == "ok" and result.access != Access.HEAD:
                scores.update({(spec.label, c): s for c, s in load_scores(path.with_suffix(".npz")).items()})
        return results, scores

    def _evidence(self, specs: Sequence[AttackSpec]) -> Evidence:
        self.step("signals")
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        card = self.submission.card
        shadows = {}
        known = registry.defenses()
        if len(card.defenses) == 1 and card.defenses[0].name in known and pool.count(Knowledge.AUXILIARY):
            shadows[Knowledge.AUXILIARY] = pool.auxiliary(
                card.defenses[0], card.backbone, init=self.init, progress=self.training
            )
        target = Target(self.submission, Access.WEIGHTS, self.device)
        return gather(target, self.populations, specs, shadows=shadows, cache=self.cache / "signals")

    def _unranked(
        self,
        complete: bool,
        gate: Gate,
        results: Sequence[AttackResult],
        defenses: Sequence[Any],
        flags: Sequence[Mapping[str, Any]],
    ) -> tuple[str, ...]:
        """Why this entry has no rank; empty where it has one."""
        reasons = []
        if not complete:
            reasons.append("only some of the track's attacks were run")
        if not gate.valid:
            reasons.append("the blind gate failed: the contrast can be told without the model")
        reasons += [f"attack {r.label} failed: {r.reason}" for r in results if r.status == "failed"]
        tested = [d for d in defenses if d.adaptive_attacks()]
        if len(tested) < len(self.submission.card.defenses):
            reasons.append("not adaptively tested: no attack here knows this defence")
        reasons += [f["reason"] for f in flags if f["severity"] == "error"]
        return tuple(reasons)

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
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        )


def device_name(device: torch.device | str) -> str:
    """The device's kind and, for a GPU, its model."""
    kind = torch.device(device)
    return f"{kind.type}: {torch.cuda.get_device_name(kind)}" if kind.type == "cuda" else kind.type
