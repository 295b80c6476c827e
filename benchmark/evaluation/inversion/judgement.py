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
from benchmark.evaluation.inversion.identity_metrics import (
    GENERATOR,
    MEMBER,
    GalleryView,
    identity_metrics,
    leakage,
    match,
    settled,
)
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import Panel, calibrate, embed
from benchmark.evaluation.inversion.pictures import check_may_show, write_gallery
from benchmark.evaluation.inversion.subjects import (
    IdentitySubjects,
    TemplateSubjects,
    asked_members,
    identity_subjects,
    template_subjects,
)
from benchmark.evaluation.inversion.template_metrics import View, distribution_metrics, picture_metrics, template_metrics
from benchmark.evaluation.membership.headline import first_half
from benchmark.interfaces import Access, AttackSpec, FaceVeilError, Goal, NotApplicableError, PluginInfo, content_hash
from benchmark.metrics.cosines import unit_length
from benchmark.protocol import registry
from benchmark.protocol.registry import build_inversion, canonical
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

    rebuilder: InversionRunner
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
        track = self.rebuilder.populations.track
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
            seed=self.rebuilder.seed,
        )

    def images(self, spec: AttackSpec, goal: Goal) -> InversionImages:
        """What an attack made, from its saved chunks; runs it where they are missing."""
        if goal == Goal.TEMPLATE:
            sources = self.template_subjects.sources
            return self.rebuilder.run(spec, goal, len(sources), sources)
        return self.rebuilder.run(spec, goal, self._count)

    @cached_property
    def template_subjects(self) -> TemplateSubjects:
        budget = self.rebuilder.populations.track.inversion_budget
        return template_subjects(self.rebuilder.populations, self.targets or budget.targets, self.rebuilder.seed)

    @cached_property
    def identity_subjects(self) -> IdentitySubjects:
        return identity_subjects(self.rebuilder.populations, self.rebuilder.seed)

    @property
    def _full_count(self) -> int:
        wanted = self.rebuilder.populations.track.inversion_budget.reconstructions
        return wanted or int((self.identity_subjects.gallery.group == MEMBER).sum())

    @property
    def _count(self) -> int:
        return self.reconstructions or self._full_count

    @staticmethod
    def _specs(specs: Sequence[AttackSpec]) -> list[AttackSpec]:
        named = [canonical(spec, build_inversion(spec)) for spec in specs]
        return list({spec.label: spec for spec in named}.values())

    def _unranked(self, selection: bool, results: Sequence[InversionResult]) -> tuple[str, ...]:
        reasons = list(self.panel.unranked(self.rebuilder.submission, *self._held))
        if selection:
            reasons.append("only some of the track's inversion attacks were run")
        budget = self.rebuilder.populations.track.inversion_budget
        if self.targets is not None and self.targets < budget.targets:
            reasons.append(f"{self.targets} of {budget.targets} templates were tried")
        if self._count < self._full_count:
            reasons.append(f"{self._count} of {self._full_count} reconstructions were made")
        return tuple(reasons + [f"attack {r.label} failed: {r.reason}" for r in results if r.status == "failed"])

    def gallery(self, spec: AttackSpec, goal: Goal, most: int, out: Path) -> None:
        """Writes a picture of up to ``most`` of an attack's images; see :mod:`benchmark.evaluation.inversion.pictures`.

        For goal A beside the photos whose templates leaked, members first; for goal B beside the members whom the panel found.
        """
        populations = self.rebuilder.populations
        check_may_show(populations.track)
        images = self.images(spec, goal).images
        eligible = self._eligible or self.panel.judges
        if goal == Goal.TEMPLATE:
            chosen = np.arange(len(images))[:most]
            real = self.template_subjects.sources.load(chosen)
        else:
            gallery = self.identity_subjects.gallery
            found = match([self._identity_view(j.target, j.calibration.thresholds, images) for j in eligible], gallery)
            member = (found.agreed >= 0) & (gallery.group[found.agreed] == MEMBER)
            chosen = np.flatnonzero(member)[:most]
            if not len(chosen):
                raise FaceVeilError(f"{spec.label}: no reconstruction shows a member, so there is nothing to set beside them.")
            photo = [int(np.flatnonzero(gallery.photos == person)[0]) for person in found.agreed[chosen]]
            real = self.identity_subjects.photos.load(np.array(photo))
        judge, public = eligible[0].target, populations.auxiliary
        cosines = unit_length(embed(judge, images[chosen])) @ unit_length(self._embedded(judge, public)).T
        write_gallery(populations.track, real, images[chosen], public.load(cosines.argmax(1)), out)

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
        judges = [j.target.submission_id for j in self.panel.judges]
        usable = [j.name for j in self._eligible]
        looked = [self.lpips.digest] if self.lpips is not None and goal == Goal.TEMPLATE else []
        whom = self.rebuilder.submission.submission_id
        name = content_hash(INVERSION_VERSION, made.sha256, goal.value, judges, usable, whom, *looked)
        pieces = Pieces(self.rebuilder.cache / "inversions" / "judged")
        judged = pieces.get(name, lambda: self._judge(goal, made.images))
        update = {
            "reason": "; ".join(made.notes),
            "images": len(made.images),
            "metrics": {k: Metric(**m) for k, m in judged["panel"].items()},
            "judges": {judge: {k: Metric(**m) for k, m in found.items()} for judge, found in judged["judges"].items()},
            "target": {k: Metric(**m) for k, m in judged["target"].items()},
            "objective": tuple(round(v, 5) for v in _thinned(made.trace)),
            "seconds": made.seconds,
            "peak_memory_mb": made.peak_memory_mb,
            "memory_measure": made.memory_measure,
            "queries": made.queries,
            "images_sha256": made.sha256,
        }
        hit = None if judged["hit"] is None else np.array(judged["hit"], bool)
        return result.model_copy(update=update), hit

    @property
    def _held(self) -> tuple[Submission, ...]:
        """Encoders of the attacker's own: what they were fooled by, they must not judge."""
        return () if self.rebuilder.encoder is None else (self.rebuilder.encoder,)

    @cached_property
    def _eligible(self) -> tuple[Any, ...]:
        return self.panel.eligible(self.rebuilder.submission, *self._held)

    @cached_property
    def _attacked(self) -> Target:
        return Target(self.rebuilder.submission, Access.EMBEDDING, self.rebuilder.device)

    @cached_property
    def _thresholds(self) -> Mapping[str, float | None]:
        return calibrate(self._attacked, self.rebuilder.populations, self.rebuilder.cache).thresholds

    def _judge(self, goal: Goal, images: Tensor) -> dict[str, Any]:
        """Metrics of the panel, of each judge alone and of the attacked model, as JSON data."""
        self.rebuilder.step(f"judging {len(images)} images")
        seed = self.rebuilder.seed
        make = self._template_view if goal == Goal.TEMPLATE else self._identity_view
        views: dict[str, Any] = {j.name: make(j.target, j.calibration.thresholds, images) for j in self.panel.judges}
        eligible = [views[j.name] for j in self._eligible]
        target = make(self._attacked, self._thresholds, images)
        hit = None
        if goal == Goal.TEMPLATE:
            whom = self.template_subjects.targets

            def score(some: Sequence[Any]) -> dict[str, Metric]:
                return template_metrics(some, whom, seed=seed)

            alike = images[whom.member]
        else:
            gallery = self.identity_subjects.gallery

            def score(some: Sequence[Any]) -> dict[str, Metric]:
                return identity_metrics(some, gallery, seed=seed)

            alike = images
            hit = match(eligible, gallery).by_rank.tolist() if eligible else None
        panel = {**score(eligible), **(self._distribution(alike) if eligible else {}), **self._pictures(goal, images)}
        found = {"panel": panel, "target": score([target])}
        data: dict[str, Any] = {name: _dumped(metrics) for name, metrics in found.items()}
        data["judges"] = {name: _dumped(score([view])) for name, view in views.items()}
        data["hit"] = hit
        return data

    def _embedded(self, target: Target, photos: Any) -> np.ndarray:
        return np.asarray(extract(target, photos, (EMBEDDING,), cache=self.rebuilder.cache / "signals")[EMBEDDING])

    def _template_view(self, target: Target, thresholds: Mapping[str, float | None], images: Tensor) -> View:
        subjects = self.template_subjects
        sources, gallery = self._embedded(target, subjects.sources), self._embedded(target, subjects.gallery)
        return View(thresholds, embed(target, images), sources, gallery)

    def _identity_view(self, target: Target, thresholds: Mapping[str, float | None], images: Tensor) -> GalleryView:
        return GalleryView(thresholds, embed(target, images), self._embedded(target, self.identity_subjects.photos))

    def _distribution(self, images: Tensor) -> dict[str, Metric]:
        """Against photos of the members asked about, on the features of the first judge that is eligible."""
        photos = asked_members(self.rebuilder.populations)
        judge = self._eligible[0].target
        features = self._embedded(judge, photos)
        return distribution_metrics(features, embed(judge, images), np.asarray(photos.identity), seed=self.rebuilder.seed)

    def _pictures(self, goal: Goal, images: Tensor) -> dict[str, Metric]:
        """LPIPS to the photos whose templates leaked, where there are weights for it."""
        if self.lpips is None or goal != Goal.TEMPLATE:
            return {}
        sources = self.template_subjects.sources
        distance = self.lpips(images, sources.load(np.arange(len(sources))))
        return picture_metrics(distance, self.template_subjects.targets, seed=self.rebuilder.seed)

    def _leakage(self, hits: Mapping[str, np.ndarray]) -> tuple[Metric | None, str, tuple[float, ...]]:
        """The attack that finds most on one half of the people, and what it finds on the other half."""
        if not hits:
            return None, "", ()
        group, seed = self.identity_subjects.gallery.group, self.rebuilder.seed
        asked = np.flatnonzero(group != GENERATOR)
        choosing = np.concatenate([first_half(asked[group[asked] == side], seed) for side in np.unique(group[asked])])
        reported = np.setdiff1d(asked, choosing)

        def found(label: str, people: np.ndarray) -> float:
            return leakage(hits[label][people], group[people], seed=seed, replicates=1).estimate.value or 0.0

        label = max(sorted(hits), key=lambda name: found(name, choosing))
        boot = leakage(hits[label][reported], group[reported], seed=seed, replicates=REPLICATES)
        metric = settled(boot.estimate, hits[label][reported], group[reported])
        return metric, label, tuple(round(float(r), 5) for r in boot.replicates)


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
