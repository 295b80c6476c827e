"""What a record is made of: every number with its interval, n and direction, attack by attack and audit by audit."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import BeforeValidator, Field

from benchmark.interfaces import AttackSpec, Contrast, Result
from benchmark.runtime.memory import Measure
from benchmark.submissions.card import Claim


class Bounds(Protocol):
    """A value with its 95 % interval."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Estimate(Protocol):
    """What :mod:`benchmark.metrics.intervals` estimates: a value, its 95 % interval, what was counted, and how."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def method(self) -> str: ...


def interval_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """``0.812 [0.790, 0.834]``; a dash where there is no value (None or NaN)."""
    if value is None or value != value:
        return "–"
    bare = low is None or high is None or low != low or high != high
    return f"{value:.3f}" if bare else f"{value:.3f} [{low:.3f}, {high:.3f}]"


class Metric(Result):
    """A value with its 95 % interval.  ``value`` is None where it cannot be measured; ``note`` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int  # what was counted, in the unit of ``unit``
    unit: str = "photos"
    higher_is_better: bool | None = None  # seen by the defender; None: a description, not a score
    method: str = ""  # of the interval
    note: str = ""

    @staticmethod
    def of(estimate: Estimate, *, higher_is_better: bool | None, unit: str = "people", note: str = "") -> Metric:
        """An estimate as it stands in a record."""
        return Metric(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            unit=unit,
            higher_is_better=higher_is_better,
            method=estimate.method,
            note=note,
        )


def text_of(metric: Metric | None) -> str:
    """``0.812 [0.790, 0.834], n = 400 people``, or why there is no number."""
    if metric is None:
        return "–"
    if metric.value is None:
        return metric.note or "not measurable"
    return f"{interval_text(metric.value, metric.low, metric.high)}, n = {metric.n} {metric.unit}"


class ContrastResult(Result):
    """One attack on one contrast.

    ``metrics``: ``auc``, ``balanced_accuracy``, ``advantage``, ``tpr@fpr=1e-2``, ``tpr@fpr=1e-3``, ``excess_over_blind`` (AUC).
    Of an entry that is a population they are over all ``targets`` together, and ``auc_by_target`` are those of each alone.
    """

    contrast: Contrast
    people: int
    n_positive: int
    n_negative: int
    metrics: dict[str, Metric]
    realised_fpr: dict[str, float] = Field(default_factory=dict)
    roc: tuple[tuple[float, float], ...] = Field(default=(), max_length=200, repr=False)
    scores_sha256: str = ""
    targets: int = 1
    pooling: str = ""  # how scores of different targets were made comparable
    auc_by_target: tuple[float, ...] = ()


class AttackResult(Result):
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
    memory_measure: Measure = (
        "process"  # see benchmark.runtime.memory; `process`: the peak of the whole process, not of the attack
    )
    queries: int = 0  # images that go through one target: photos, their views, parts and repetitions

    @property
    def label(self) -> str:
        return self.spec.label


class JudgeInfo(Result):
    """A backbone of the evaluator's panel, with its own verification TAR by FAR."""

    name: str
    architecture: str
    trained_on: str
    submission_id: str
    tar: dict[str, Metric]
    usable: bool
    reason: str = ""


class InversionResult(Result):
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


class InversionRecord(Result):
    """Everything that inversion found: the second axis a reader may rank by."""

    results: tuple[InversionResult, ...]
    judges: tuple[JudgeInfo, ...]
    unranked: tuple[str, ...] = ()  # reasons; empty: ranked
    leakage: Metric | None = None  # goal B: share of members recovered minus share of held-out people, of the best attack
    leakage_attack: str = ""
    leakage_replicates: tuple[float, ...] = Field(default=(), repr=False)
    generator: str = ""  # which generator the attacker held
    seed: int = 0


class GateProbe(Result):
    """A blind classifier on one contrast: it never saw the target."""

    classifier: str
    contrast: Contrast
    auc: Metric
    invalid: bool


class Gate(Result):
    """The blind gate of a track and split: which contrasts can be told without any target.

    Such a contrast is out for every entry; the other still ranks.
    """

    valid: bool  # one contrast of the headline, at least, can be judged
    probes: tuple[GateProbe, ...]

    def passes(self, contrast: Contrast) -> bool:
        """Whether no blind probe tells the contrast."""
        return not any(p.invalid for p in self.probes if p.contrast == contrast)

    def best_auc(self, contrast: Contrast) -> float:
        """The strongest blind AUC on a contrast, at least 0.5."""
        return max([0.5, *(p.auc.value or 0.5 for p in self.probes if p.contrast == contrast)])


class Headline(Result):
    """The two axes of the ranking, with paired bootstrap replicates.

    Replicate b of every record of one track and split resamples the same people and, of entries that are populations of as
    many backbones, the same targets, so that differences between entries are paired.
    """

    utility: Metric  # TAR@FAR=1e-3 on verification people, mean over the targets
    leakage: Metric  # membership advantage, chosen on one half of the people, reported on the other
    leakage_contrast: Contrast
    leakage_attack: str
    targets: int = 1
    low_fpr: Metric | None = None  # TPR@0.1 %FPR of the same attack, over all people asked about
    exposed: Metric | None = None  # the same advantage among the 1 % of photos that the other targets show to be most exposed
    utility_replicates: tuple[float, ...] = Field(default=(), repr=False)
    leakage_replicates: tuple[float, ...] = Field(default=(), repr=False)

    @property
    def nothing_found(self) -> bool:
        """The leakage is not significantly above 0: for comparisons it counts as 0."""
        return nothing_found(self.leakage)

    @property
    def detection_limit(self) -> float | None:
        """The leakage that this evaluation cannot rule out: the upper end of its interval."""
        return self.leakage.high


def nothing_found(leakage: Bounds) -> bool:
    """Whether a leakage has a value and is not significantly above 0 (95 %)."""
    if leakage.value is None or leakage.value != leakage.value:
        return False
    return leakage.value <= 0 or (leakage.low is not None and leakage.low <= 0)


class EpsilonBound(Result):
    """A lower bound of epsilon at ``delta``: under ``hypothesis``, every claim below it is refuted with ``confidence``."""

    epsilon: float
    delta: float
    ceiling: float  # the most that this many canaries can show
    n: int
    method: Literal["clopper_pearson", "one_run", "gaussian_one_run"]
    detail: str
    confidence: float
    hypothesis: str = ""  # "": a record from before bounds named theirs


class CanaryAudit(Result):
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


def _present_name(question: object) -> object:
    return "unrelated_models" if question == "never_saw" else question  # its name in protocol 0.2


class AttributionRow(Result):
    """One attack in one case; ``difference`` of its AUC from that of the first case, on the same photos."""

    question: Annotated[Literal["statistics", "order", "unrelated_models"], BeforeValidator(_present_name)]
    attack: str
    case: str
    contrast: str
    auc: Metric
    difference: Metric | None = None


class Attribution(Result):
    """Where leakage sits: in the BatchNorm statistics, or in how the weights fit their photos.

    ``statistics``: the trained statistics against statistics of public faces under the same weights.  ``order``: photos of the
    last batches, which make up the running statistics, against earlier ones.  ``unrelated_models``: the same distances on
    backbones that were not trained on these people.
    """

    rows: tuple[AttributionRow, ...]
    left_out: dict[str, str] = Field(default_factory=dict)  # what could not be asked, and why
    reading: tuple[str, ...] = ()  # what the rows say, in sentences
