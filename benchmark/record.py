"""Record: one evaluation, every number with its interval, n, direction and provenance.

A record is self-contained JSON: leaderboards read records and nothing else, so it also carries what each attack and
defence is.  Scores stand beside it in ``.npz`` files, named here by sha256.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmark.card import Card, Claim
from benchmark.interfaces import AttackSpec, Contrast, content_hash
from benchmark.memory import Measure

SCHEMA_VERSION: Final = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Model):
    """A value with its 95 % interval.  ``value`` is None where it cannot be measured; ``note`` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int  # what was counted, in the unit of ``unit``
    unit: str = "photos"
    higher_is_better: bool | None = None  # seen by the defender; None: a description, not a score
    method: str = ""  # of the interval
    note: str = ""


class ContrastResult(_Model):
    """One attack on one contrast.

    ``metrics``: ``auc``, ``balanced_accuracy``, ``advantage``, ``tpr@fpr=1e-2``, ``tpr@fpr=1e-3``, ``excess_over_blind`` (AUC).
    """

    contrast: Contrast
    people: int
    n_positive: int
    n_negative: int
    metrics: dict[str, Metric]
    realised_fpr: dict[str, float] = Field(default_factory=dict)
    roc: tuple[tuple[float, float], ...] = Field(default=(), max_length=200)
    scores_sha256: str = ""


class AttackResult(_Model):
    """One attack under one setting."""

    spec: AttackSpec
    adaptive: bool = False  # named by the defence rather than by the track
    status: Literal["ok", "not_applicable", "failed"] = "ok"
    reason: str = ""
    access: str
    knowledge: str
    contrasts: dict[Contrast, ContrastResult] = Field(default_factory=dict)
    not_applicable: dict[Contrast, str] = Field(default_factory=dict)  # contrasts it has no meaning for here, and why
    seconds: float = 0.0
    peak_memory_mb: float = 0.0  # of fitting and scoring, in the sense of `memory_measure`
    memory_measure: Measure = "process"  # see benchmark.memory; `process`: the peak of the whole process, not of the attack
    queries: int = 0  # forward passes of single photos through the target

    @property
    def label(self) -> str:
        return self.spec.label


class JudgeInfo(_Model):
    """A backbone of the evaluator's panel, with its own verification TAR by FAR."""

    name: str
    architecture: str
    trained_on: str
    submission_id: str
    tar: dict[str, Metric]
    usable: bool
    reason: str = ""


class InversionResult(_Model):
    """One inversion attack for one goal, judged.

    ``metrics`` are the panel's (its usable judges agreeing), ``judges`` those of each judge alone, and ``target`` the attacked
    model's own verdict: where it is far above the panel's, the images are adversarial artefacts.
    """

    spec: AttackSpec
    goal: str
    access: str
    control: bool = False
    status: Literal["ok", "not_applicable", "failed"] = "ok"
    reason: str = ""
    images: int = 0
    metrics: dict[str, Metric] = Field(default_factory=dict)
    judges: dict[str, dict[str, Metric]] = Field(default_factory=dict)
    target: dict[str, Metric] = Field(default_factory=dict)
    objective: tuple[float, ...] = Field(default=(), max_length=200)  # of the first image's chunk, lower is better
    seconds: float = 0.0
    peak_memory_mb: float = 0.0  # of the most demanding chunk, in the sense of `memory_measure`
    memory_measure: Measure = "process"
    queries: int = 0  # forward passes of single images through the target
    images_sha256: str = ""

    @property
    def label(self) -> str:
        return self.spec.label


class Inversion(_Model):
    """Everything that inversion found: the second axis a reader may rank by."""

    results: tuple[InversionResult, ...]
    judges: tuple[JudgeInfo, ...]
    unranked: tuple[str, ...] = ()  # reasons; empty: ranked
    leakage: Metric | None = None  # goal B: share of members recovered minus share of held-out people, of the best attack
    leakage_attack: str = ""
    leakage_replicates: tuple[float, ...] = ()
    generator: str = ""  # which generator the attacker held
    seed: int = 0


class GateProbe(_Model):
    """A blind classifier on one contrast: it never saw the target."""

    classifier: str
    contrast: Contrast
    auc: Metric
    invalid: bool


class Gate(_Model):
    """The blind gate of a track and split: whether the contrast can be told without any target."""

    valid: bool
    probes: tuple[GateProbe, ...]

    def best_auc(self, contrast: Contrast) -> float:
        """The strongest blind AUC on a contrast, at least 0.5."""
        return max([0.5, *(p.auc.value or 0.5 for p in self.probes if p.contrast == contrast)])


class Headline(_Model):
    """The two axes of the ranking, with paired bootstrap replicates.

    Replicate b of every record of one track and split resamples the same people, so that differences between entries
    are paired.
    """

    utility: Metric  # TAR@FAR=1e-3 on verification people
    leakage: Metric  # membership advantage, chosen on one half of the people, reported on the other
    leakage_contrast: Contrast
    leakage_attack: str
    utility_replicates: tuple[float, ...] = ()
    leakage_replicates: tuple[float, ...] = ()


class EpsilonBound(_Model):
    """A lower bound of epsilon at ``delta``: every claim below it is refuted with ``confidence``."""

    epsilon: float
    delta: float
    ceiling: float  # the most that so many canaries can show
    n: int
    method: Literal["clopper_pearson", "one_run"]
    detail: str
    confidence: float


class CanaryAudit(_Model):
    """What canaries prove of a training, in the unit ``unit``, beside the claim in that unit (``upper``)."""

    unit: Literal["photo", "person"]
    kind: str
    canaries: int
    included: int
    seed: int
    control: bool = False  # on a backbone that was trained on none of them
    attack: str
    auc: Metric
    lower: tuple[EpsilonBound, ...]
    upper: Claim | None = None
    note: str = ""  # why there is no upper bound


class AttributionRow(_Model):
    """One attack in one case; ``difference`` of its AUC from that of the first case, on the same photos."""

    question: Literal["statistics", "order", "never_saw"]
    attack: str
    case: str
    contrast: str
    auc: Metric
    difference: Metric | None = None


class Attribution(_Model):
    """Where leakage sits: in the BatchNorm statistics, or in how the weights fit their photos.

    ``statistics``: the trained statistics against statistics of public faces under the same weights.  ``order``: photos of the
    last batches, which make up the running statistics, against earlier ones.  ``never_saw``: the same distances on backbones
    that were not trained on these people.
    """

    rows: tuple[AttributionRow, ...]
    left_out: dict[str, str] = Field(default_factory=dict)  # what could not be asked, and why
    reading: tuple[str, ...] = ()  # what the rows say, in sentences


class Flag(_Model):
    """Something a reader should know before trusting an entry."""

    name: str
    severity: Literal["info", "warning", "error"]
    reason: str


class PluginInfo(_Model):
    """What an attack or a defence is, as its class says."""

    name: str
    summary: str
    reference: str
    family: str = ""
    access: str = ""
    contrasts: tuple[Contrast, ...] = ()
    file_sha256: str = ""  # of the file it came from, where that is not part of the project
    goals: tuple[str, ...] = ()  # of inversion


class Provenance(_Model):
    """Where the numbers come from."""

    track_digest: str
    weights_sha256: str
    submission_id: str
    data_digest: str
    split_digest: str
    seed: int
    versions: dict[str, str]
    device: str
    created: str  # ISO 8601, UTC
    seconds: float
    peak_memory_mb: float


class Record(_Model):
    """One submission under one track's standard evaluation."""

    schema_version: Literal[1] = SCHEMA_VERSION
    protocol_version: str
    track: str
    board: Literal["verified", "weights"] = "weights"
    card: Card
    utility: dict[str, Metric]
    membership: tuple[AttackResult, ...]
    gate: Gate
    headline: Headline | None
    complete: bool  # every attack of the track and of the defence was run
    unranked: tuple[str, ...] = ()  # reasons; empty: ranked
    flags: tuple[Flag, ...] = ()
    attacks: dict[str, PluginInfo] = Field(default_factory=dict)
    defenses: dict[str, PluginInfo] = Field(default_factory=dict)
    inversion: Inversion | None = None  # None: not run
    provenance: Provenance
    audit: CanaryAudit | None = None  # of entries that were trained with canaries
    attribution: Attribution | None = None
    extra: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """Hash of what was trained, without its seed: records that share it are one entry with its spread."""
        card = self.card
        inference = dict(card.inference) if card.inference else None
        canaries = [card.canaries.model_dump(mode="json")] if card.canaries else []
        return content_hash(
            self.track,
            self.protocol_version,
            self.provenance.data_digest,
            self.board,
            card.team,
            [d.model_dump(mode="json") for d in card.defenses],
            card.backbone.model_dump(mode="json"),
            inference,
            card.initialised_from,
            *canaries,
        )

    @property
    def fingerprint(self) -> str:
        """Hash of everything but costs and dates: two runs of one evaluation agree on it.

        Curves do not count: they are drawings of scores, which stand in it by their hash.
        """
        data = self.model_dump(mode="json")
        for key in ("created", "seconds", "peak_memory_mb"):
            data["provenance"].pop(key)
        for attack in (*data["membership"], *(data["inversion"] or {}).get("results", ())):
            for key in ("seconds", "peak_memory_mb", "memory_measure"):
                attack.pop(key)
        for attack in data["membership"]:
            for contrast in attack["contrasts"].values():
                contrast.pop("roc")
        return content_hash(data)
