"""A track's inversion attacks on a submission, judged by the panel -> the record's ``InversionRecord``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.evaluation.inversion.attack_runner import InversionImages, InversionRunner
from benchmark.evaluation.inversion.goals import IdentityGoal, JudgedGoal, TemplateGoal
from benchmark.evaluation.inversion.identity_metrics import (
    GENERATOR,
    MEMBER,
    leakage,
    settled,
)
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import Judge, Panel, calibrate, embed
from benchmark.evaluation.inversion.pictures import check_may_show, write_gallery
from benchmark.evaluation.inversion.subjects import (
    asked_members,
    identity_subjects,
    template_subjects,
)
from benchmark.evaluation.inversion.template_metrics import distribution_metrics
from benchmark.evaluation.membership.headline import first_half
from benchmark.interfaces import Access, AttackSpec, FaceVeilError, Goal, NotApplicableError, PluginInfo, content_hash
from benchmark.metrics.cosines import unit_length
from benchmark.protocol import registry
from benchmark.protocol.registry import build_inversion, canonical
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import INVERSION
from benchmark.records.record import Record
from benchmark.records.results import InversionRecord, InversionResult, Metric
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission

INVERSION_VERSION = 1  # part of every judgement's name: raise it when a metric changes its meaning
EMBEDDING = Embedding()
REPLICATES = 200  # of the leakage that is ranked, as many as the headline has
POINTS = 200  # of an objective's trace in the record


@dataclass(frozen=True)
class InversionEvaluation:
    """Inversion of one submission on one track.

    Args:
        targets, reconstructions: how many; None: the track's budget.  Fewer are for a quick look, and unranked.
        lpips: compares reconstructions with the photos whose templates leaked; None: there are no weights for it.
    """

    runner: InversionRunner
    panel: Panel
    targets: int | None = None
    reconstructions: int | None = None
    generator_name: str = ""
    lpips: Lpips | None = None

    def run(self, attacks: Sequence[AttackSpec] | None = None) -> InversionRecord:
        """Makes and judges the images, resuming what an earlier run finished.

        Args:
            attacks: a selection, then unranked; None: the track's, or the standard ones.
        """
        track = self._track
        specs = self._specs((track.inversion or INVERSION) if attacks is None else attacks)
        results, hits = [], {}
        for spec in specs:
            for goal in build_inversion(spec).goals:
                result, hit = self._attack(spec, goal)
                results.append(result)
                if hit is not None and not result.control and result.access != Access.HEAD:
                    hits[spec.label] = hit
        metric, label, replicates = self._leakage(hits)
        return InversionRecord(
            results=tuple(results),
            judges=tuple(j.info() for j in self.panel.judges),
            unranked=self._unranked(attacks is not None, results),
            leakage=metric,
            leakage_attack=label,
            leakage_replicates=replicates,
            generator=self.generator_name,
            seed=self.runner.seed,
        )

    def images(self, spec: AttackSpec, goal: Goal) -> InversionImages:
        """What an attack made, from its saved chunks; runs it where they are missing."""
        if goal == Goal.TEMPLATE:
            sources = self._templates.photos
            return self.runner.run(spec, goal, len(sources), sources)
        return self.runner.run(spec, goal, self._count)

    @cached_property
    def _templates(self) -> TemplateGoal:
        number = self.targets or self._track.inversion_budget.targets
        subjects = template_subjects(self.runner.populations, number, self.runner.seed)
        return TemplateGoal(self._embedded, self.runner.seed, subjects, self.lpips)

    @cached_property
    def _identities(self) -> IdentityGoal:
        subjects = identity_subjects(self.runner.populations, self.runner.seed)
        return IdentityGoal(self._embedded, self.runner.seed, subjects)

    def _goal(self, goal: Goal) -> JudgedGoal[Any]:
        return self._templates if goal == Goal.TEMPLATE else self._identities

    @property
    def _track(self) -> Track:
        return self.runner.populations.track

    @property
    def _full_count(self) -> int:
        wanted = self._track.inversion_budget.reconstructions
        return wanted or int((self._identities.subjects.gallery.group == MEMBER).sum())

    @property
    def _count(self) -> int:
        return self.reconstructions or self._full_count

    @staticmethod
    def _specs(specs: Sequence[AttackSpec]) -> list[AttackSpec]:
        named = [canonical(spec, build_inversion(spec)) for spec in specs]
        return list({spec.label: spec for spec in named}.values())

    def _unranked(self, selection: bool, results: Sequence[InversionResult]) -> tuple[str, ...]:
        reasons = list(self.panel.unranked(self.runner.submission, *self._held))
        if selection:
            reasons.append("only some of the track's inversion attacks were run")
        budget = self._track.inversion_budget
        if self.targets is not None and self.targets < budget.targets:
            reasons.append(f"{self.targets} of {budget.targets} templates were tried")
        if self._count < self._full_count:
            reasons.append(f"{self._count} of {self._full_count} reconstructions were made")
        return tuple(reasons + [f"attack {r.label} failed: {r.reason}" for r in results if r.status == "failed"])

    def gallery(self, spec: AttackSpec, goal: Goal, most: int, out: Path) -> None:
        """Writes a picture of up to ``most`` of an attack's images; see :mod:`benchmark.evaluation.inversion.pictures`.

        For goal A beside the photos whose templates leaked, members first; for goal B beside the members whom the panel found.
        """
        check_may_show(self._track)
        images, of_goal = self.images(spec, goal).images, self._goal(goal)
        eligible = self._eligible or self.panel.judges
        pairs = of_goal.pairs([_view(of_goal, judge, images) for judge in eligible], most)
        if not pairs:
            raise FaceVeilError(f"{spec.label}: no reconstruction shows a member, so there is nothing to set beside them.")
        shown, real = images[list(pairs)], of_goal.photos.load(np.array(list(pairs.values())))
        judge, public = eligible[0].target, self.runner.populations.auxiliary
        cosines = unit_length(embed(judge, shown)) @ unit_length(self._embedded(judge, public)).T
        write_gallery(self._track, real, shown, public.load(cosines.argmax(1)), out)

    def _attack(self, spec: AttackSpec, goal: Goal) -> tuple[InversionResult, np.ndarray | None]:
        """The result, and for goal B the people (P,) bool that the panel found."""
        attack = build_inversion(spec)
        result = InversionResult(spec=spec, goal=goal, access=attack.required_access(), control=attack.control)
        try:
            made = self.images(spec, goal)
        except NotApplicableError as error:
            return result.model_copy(update={"status": "not_applicable", "reason": str(error)}), None
        except FaceVeilError as error:
            return result.model_copy(update={"status": "failed", "reason": str(error)}), None
        pieces = Pieces(self.runner.cache / "inversions" / "judged")
        judged = pieces.get(self._name_of_judgement(goal, made), lambda: self._judge(goal, made.images))
        update = {
            "reason": "; ".join(made.notes),
            "images": len(made.images),
            "metrics": _read(judged["panel"]),
            "judges": {judge: _read(metrics) for judge, metrics in judged["judges"].items()},
            "target": _read(judged["target"]),
            "objective": tuple(round(v, 5) for v in _thinned(made.trace)),
            "seconds": made.seconds,
            "peak_memory_mb": made.peak_memory_mb,
            "memory_measure": made.memory_measure,
            "queries": made.queries,
            "images_sha256": made.sha256,
        }
        hit = None if judged["hit"] is None else np.array(judged["hit"], bool)
        return result.model_copy(update=update), hit

    def _name_of_judgement(self, goal: Goal, made: InversionImages) -> str:
        """By all that a judgement depends on."""
        judges = [j.target.submission_id for j in self.panel.judges]
        usable = [j.name for j in self._eligible]
        looked = [self.lpips.digest] if self.lpips is not None and goal == Goal.TEMPLATE else []
        whom = self.runner.submission.submission_id
        return content_hash(INVERSION_VERSION, made.sha256, goal.value, judges, usable, whom, *looked)

    @property
    def _held(self) -> tuple[Submission, ...]:
        """Encoders of the attacker's own: what they were fooled by, they must not judge."""
        return () if self.runner.encoder is None else (self.runner.encoder,)

    @cached_property
    def _eligible(self) -> tuple[Judge, ...]:
        return self.panel.eligible(self.runner.submission, *self._held)

    @cached_property
    def _attacked(self) -> Target:
        return Target(self.runner.submission, Access.EMBEDDING, self.runner.device)

    @cached_property
    def _thresholds(self) -> Mapping[str, float | None]:
        return calibrate(self._attacked, self.runner.populations, self.runner.cache).thresholds

    def _judge(self, goal: Goal, images: Tensor) -> dict[str, Any]:
        """Metrics of the panel, of each judge alone and of the attacked model, and whom the panel found, as JSON data."""
        self.runner.step(f"judging {len(images)} images")
        of_goal = self._goal(goal)
        views = {judge.name: _view(of_goal, judge, images) for judge in self.panel.judges}
        eligible = [views[judge.name] for judge in self._eligible]
        attacked = of_goal.view(self._attacked, self._thresholds, images)
        panel = of_goal.metrics(eligible)
        if eligible:
            panel |= self._distribution(of_goal.of_members(images))
        panel |= of_goal.likeness(images)
        found = of_goal.found(eligible)
        return {
            "panel": _dumped(panel),
            "target": _dumped(of_goal.metrics([attacked])),
            "judges": {name: _dumped(of_goal.metrics([view])) for name, view in views.items()},
            "hit": None if found is None else found.tolist(),
        }

    def _embedded(self, target: Target, photos: Any) -> np.ndarray:
        return np.asarray(extract(target, photos, (EMBEDDING,), cache=self.runner.cache / "signals")[EMBEDDING])

    def _distribution(self, images: Tensor) -> dict[str, Metric]:
        """Against photos of the members asked about, on the features of the first judge that is eligible."""
        photos = asked_members(self.runner.populations)
        judge = self._eligible[0].target
        features = self._embedded(judge, photos)
        return distribution_metrics(features, embed(judge, images), np.asarray(photos.identity), seed=self.runner.seed)

    def _leakage(self, hits: Mapping[str, np.ndarray]) -> tuple[Metric | None, str, tuple[float, ...]]:
        """The attack that finds most on one half of the people, and what it finds on the other half."""
        if not hits:
            return None, "", ()
        group, seed = self._identities.subjects.gallery.group, self.runner.seed
        asked = np.flatnonzero(group != GENERATOR)
        choosing = np.concatenate([first_half(asked[group[asked] == side], seed) for side in np.unique(group[asked])])
        reported = np.setdiff1d(asked, choosing)

        def found(label: str, people: np.ndarray) -> float:
            return leakage(hits[label][people], group[people], seed=seed, replicates=1).estimate.value or 0.0

        label = max(sorted(hits), key=lambda name: found(name, choosing))
        boot = leakage(hits[label][reported], group[reported], seed=seed, replicates=REPLICATES)
        metric = settled(boot.estimate, hits[label][reported], group[reported])
        return metric, label, tuple(round(float(r), 5) for r in boot.replicates)


def _view(goal: JudgedGoal[Any], judge: Judge, images: Tensor) -> Any:
    return goal.view(judge.target, judge.calibration.thresholds, images)


def _read(metrics: Mapping[str, Any]) -> dict[str, Metric]:
    return {name: Metric(**m) for name, m in metrics.items()}


def _dumped(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: m.model_dump(mode="json") for name, m in metrics.items()}


def _thinned(trace: Sequence[float]) -> list[float]:
    """At most ``POINTS`` of a trace, the first and the last among them."""
    if len(trace) == 0:
        return []
    return [trace[i] for i in np.unique(np.linspace(0, len(trace) - 1, POINTS).round().astype(int))]


def with_inversion(record: Record, found: InversionRecord) -> Record:
    """A record with its inversion part, and what its attacks are."""
    return record.model_copy(update={"inversion": found, "attacks": {**record.attacks, **attacks_of(found)}})


def attacks_of(found: InversionRecord) -> dict[str, PluginInfo]:
    """What the attacks of an inversion are, by name."""
    known = registry.inversion_attacks()
    return {r.spec.name: registry.info(known[r.spec.name]) for r in found.results}
