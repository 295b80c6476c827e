"""Regrown head: the classification layer that was dropped, grown again from embeddings of the people in question."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, PrivateAttr, model_validator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.centres import Posterior, gallery, regrow, regrow_weighted, whole
from attacks.shared.fitted_centres import regrow_fitted
from attacks.shared.joint_inference import (
    Densities,
    JointInference,
    fitted_densities,
    gaussian_densities,
    known_logits,
)
from attacks.shared.marginal_likelihood import MarginalInference
from attacks.shared.query_shadows import inside_of, of_people, scores_of
from attacks.shared.shadow_calibration import bavaria, lira, rmia, worlds
from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    QueryShadow,
    Reference,
    SignalRequest,
    Signals,
)
from benchmark.signals.answers import Embedding


class RegrownHead(MembershipAttack):
    """How well a photo fits its person's class under a head regrown from that person's photos.

    The centre c_p of a person is a mean of the embeddings of that person's *other* photos, the logit of photo x is
    s cos(f(x), c_p) - log mean_{q != p} exp(s cos(f(x), c_q)): that of the softmax which training maximised.  The attacker
    knows which photos show the same person, not which were trained on.  ``gallery`` says how the centre is made:

    - ``mean``: all other photos alike;
    - ``weighted``: each as much as it looks trained on, in rounds;
    - ``fitted``: a head is fitted to the embeddings by the margin loss of training, photos weighing the same way.  Measured,
      this is weaker than ``weighted``: to the loss the hardest photos count most, and those are the ones not trained on;
    - ``joint`` (default): every subset of a person's photos is a hypothesis about which were trained on, and all are weighed
      together (:mod:`attacks.shared.joint_inference`).  Without labels or shadows it takes the densities from ``weighted``;
    - ``marginal``: the same hypotheses by a likelihood with two parameters, which are learned
      (:mod:`attacks.shared.marginal_likelihood`); without labels or shadows only.

    The joint inference learns from all people at once how many photos a person has inside.  On a track that is one number for
    everybody, which helps; ``counts="unknown"`` takes every subset for equally probable instead, as where people differ.

    With ``knowledge="none"`` it needs neither labels nor shadow backbones.  Labels (``partial``, or ``auxiliary`` shadows' own
    people) give the densities of the joint inference, or a linear rule on the logit's two terms.  Shadows asked about the same
    photos (``query_pool``) give each photo two distributions of its own; without joint inference ``rule`` then
    says what is made of them, and auxiliary shadows calibrate offline.

    ``statistics="auxiliary"`` first repairs BatchNorm statistics that a defence has perturbed, on public faces; ``queries``
    averages the answers of a system that adds noise; ``raw`` (needs the weights) bypasses what it does to its embeddings.
    """

    name: ClassVar[str] = "regrown_head"
    title: ClassVar[str] = "regrown head"
    summary: ClassVar[str] = "Regrows the dropped classification layer from embeddings and infers which photos made it."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.NONE, Knowledge.PARTIAL, Knowledge.AUXILIARY, Knowledge.QUERY_POOL] = Knowledge.NONE
    gallery: Literal["joint", "marginal", "weighted", "fitted", "mean"] = "joint"
    counts: Literal["learned", "unknown"] = "learned"
    rule: Literal["lira", "rmia", "bavaria"] = "lira"
    scale: float = Field(32.0, gt=0)
    statistics: Literal["stored", "auxiliary"] = "stored"
    queries: PositiveInt = 1
    raw: bool = False

    @model_validator(mode="after")
    def _marginal_needs_nothing(self) -> RegrownHead:
        if self.gallery == "marginal" and self.knowledge != Knowledge.NONE:
            raise ValueError(
                "gallery=marginal uses neither labels nor shadows: leave knowledge at none, or take gallery=joint."
            )
        return self

    _densities: Densities | None = PrivateAttr(None)
    _linear: Pipeline | None = PrivateAttr(None)
    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    @property
    def calibrates(self) -> bool:
        offline = self.knowledge == Knowledge.AUXILIARY and self.gallery != "joint"
        return self.knowledge == Knowledge.QUERY_POOL or offline

    def required_access(self) -> Access:
        """Estimating the statistics again, or bypassing the transform, takes the weights."""
        return self.requests()[0].access

    def requests(self) -> tuple[SignalRequest, ...]:
        return (Embedding(reference=self.statistics, queries=self.queries, raw=self.raw),)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Takes the densities of the joint inference, or a linear rule, from photos whose membership is known."""
        models = np.unique(signals.group) if len(signals.group) else [0]
        parts = [signals.group == m if len(signals.group) else np.ones(len(signals), bool) for m in models]
        logits, terms, about_people = [], [], True
        for part in parts:
            embeddings, person = self._photos(signals.take(part))
            known = labels[part] == 1
            posterior = self._regrown(embeddings, person)  # without labels, as it will be for `score`
            logits.append(known_logits(embeddings, person, posterior.others, known, self.scale))
            terms.append(_terms(posterior))
            about_people = about_people and whole(person, known)
        known = np.concatenate([labels[part] == 1 for part in parts])
        if self.gallery == "joint" and not about_people:
            self._densities = fitted_densities(np.concatenate(logits), known)
        else:
            self._linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            self._linear.fit(np.concatenate(terms), known)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) log-odds, or what ``rule`` makes of them.

        Raises:
            NotApplicableError: a person has one photo only, so that nothing is left to grow a centre from.
        """
        embeddings, person = self._photos(signals)
        # Where whole people are in question, their photos have nothing to tell apart among themselves.
        about_people = self._linear is not None or (self._shadows and of_people(self._shadows))
        if self.gallery == "joint" and not about_people:
            return self._jointly(embeddings, person)
        posterior = self._regrown(embeddings, person)
        if self.gallery == "marginal":
            learned = self.counts == "learned"
            return MarginalInference(embeddings, person, posterior.others, posterior.log_odds, self.scale, learned).log_odds()
        if self._shadows:
            return self._calibrated(posterior)
        if self._linear is not None:
            result: np.ndarray = self._linear.decision_function(_terms(posterior))
            return result
        return posterior.log_odds

    def _photos(self, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
        return gallery(signals, self.requests()[0])

    def _regrown(self, embeddings: np.ndarray, person: np.ndarray) -> Posterior:
        if self.gallery == "mean":
            return regrow(embeddings, person, self.scale)
        if self.gallery == "fitted":
            return regrow_fitted(embeddings, person, self.scale)
        return regrow_weighted(embeddings, person, self.scale)

    def _calibrated(self, posterior: Posterior) -> np.ndarray:
        scores = scores_of(self._shadows, self._key("log odds"), lambda s: self._regrown(*self._photos(s)).log_odds)
        inside = inside_of(self._shadows)
        if self.rule != "rmia":
            return {"lira": lira, "bavaria": bavaria}[self.rule](posterior.log_odds, scores, inside)
        return rmia(posterior.log_odds, scores, inside, temperature=float(np.nanstd(scores)) or 1.0)

    def _key(self, what: str) -> tuple[Hashable, ...]:
        """Names what is computed of a shadow's signals, with all settings that it depends on."""
        return (what, self.gallery, self.scale, self.requests())

    def _jointly(self, embeddings: np.ndarray, person: np.ndarray) -> np.ndarray:
        first = regrow_weighted(embeddings, person, self.scale)
        inference = JointInference(embeddings, person, first.others, first.log_odds, self.scale, self.counts == "learned")
        known = self._densities
        if self._shadows:
            w = worlds(np.stack([self._known(s) for s in self._shadows]), inside_of(self._shadows))
            known = gaussian_densities((w.mean_in, w.mean_out), (w.deviation_in, w.deviation_out))
        return inference.log_odds(inference.learn(known))

    def _known(self, shadow: QueryShadow) -> np.ndarray:
        """(N,) logits of the target's photos under a shadow, by what was really inside."""

        def logits(signals: Signals) -> np.ndarray:
            embeddings, person = self._photos(signals)
            others = self._regrown(embeddings, person).others
            return known_logits(embeddings, person, others, shadow.inside, self.scale)

        return shadow.aligned(shadow.signals.remembered(self._key("known logits"), logits))


def _terms(posterior: Posterior) -> np.ndarray:
    return np.stack([posterior.own, posterior.others], axis=1)
