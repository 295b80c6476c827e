"""What an audit found: plain data that prints, plots, and becomes a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from benchmark.interfaces import Contrast, Result
from benchmark.records.results import AttackResult, Gate, Metric
from benchmark.runtime.atomic import write_text

if TYPE_CHECKING:
    import altair
    import pandas

QUESTIONS = {
    Contrast.SAMPLE: "trained-on photos against other photos of the same people",
    Contrast.IDENTITY: "other photos of trained-on people against photos of other people",
    Contrast.PAPER: "trained-on photos against photos of other people",
}
AGAINST = {  # the photos that were not trained on
    Contrast.SAMPLE: "photos of the same people",
    Contrast.IDENTITY: "photos of other people",
    Contrast.PAPER: "photos of other people",
}


class ExposedPhoto(Result):
    """A photo that was trained on and that an attack gives away.

    ``fpr``: share of the photos not trained on that score as high; ``fpr_high``: its upper 95 % bound (Clopper-Pearson).
    """

    key: str
    contrast: Contrast
    attack: str
    score: float
    fpr: float
    fpr_high: float
    n_negative: int


class Verdict(Result):
    """What an audit says of one contrast.

    ``auc`` is that of the strongest attack, its interval widened for having been chosen among ``attacks`` results.
    """

    contrast: Contrast
    outcome: str = Field(pattern="^(leak|nothing_found|invalid|not_asked)$")
    text: str
    attack: str = ""
    auc: Metric | None = None
    attacks: int = 0


class AuditReport(Result):
    """An audit of one model on two sets of photos.

    ``verdicts`` come first for a reader; ``blind`` says whether the sets can be told apart without the model, ``attacks`` holds
    every attack with its metrics and intervals, or the reason why it was not applicable.
    """

    name: str
    model: str
    weights_sha256: str
    photos: dict[str, int]
    embedding_size: int
    verdicts: tuple[Verdict, ...]
    blind: Gate
    attacks: tuple[AttackResult, ...]
    exposed: tuple[ExposedPhoto, ...] = ()
    recognition: dict[str, Metric] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def leaked(self) -> bool:
        """Whether any question that the photos can ask found a leak."""
        return any(verdict.outcome == "leak" for verdict in self.verdicts)

    def table(self) -> pandas.DataFrame:
        """One row for every attack and contrast: AUC and TPR at 1 % FPR with their bounds, or why there is none."""
        import pandas as pd

        rows = []
        for attack in self.attacks:
            if attack.status != "ok":
                rows.append({"attack": attack.label, "contrast": "", "status": attack.status, "reason": attack.reason})
            for contrast, found in attack.contrasts.items():
                row: dict[str, Any] = {"attack": attack.label, "contrast": contrast.value, "status": "ok"}
                for name, metric in found.metrics.items():
                    row |= {name: metric.value, f"{name} low": metric.low, f"{name} high": metric.high}
                row |= {"people": found.people, "positive": found.n_positive, "negative": found.n_negative}
                rows.append(row)
        return pd.DataFrame(rows)

    def not_applicable(self) -> dict[str, str]:
        """Attacks that could not be run, and why."""
        return {attack.label: attack.reason for attack in self.attacks if attack.status != "ok"}

    def plot(self, contrast: Contrast | str | None = None) -> altair.LayerChart | altair.FacetChart:
        """ROC curves of the strongest attacks on logarithmic axes, for a notebook."""
        from benchmark.evaluation.audit.curves import chart

        return chart(self, None if contrast is None else Contrast(contrast))

    def to_html(self, path: Path | str | None = None) -> str:
        """The report as one self-contained page, also written to ``path``; it fetches nothing and runs no script."""
        from benchmark.evaluation.audit.page import page

        text = page(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def _repr_html_(self) -> str:
        from benchmark.evaluation.audit.page import fragment

        return fragment(self)

    def __str__(self) -> str:
        lines = [f"{self.name}: {', '.join(f'{n} {what}' for what, n in self.photos.items())}"]
        lines += [f"- {QUESTIONS[verdict.contrast]}: {verdict.text}" for verdict in self.verdicts]
        lines += [f"- note: {note}" for note in self.notes]
        return "\n".join(lines)
