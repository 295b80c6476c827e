"""The founding paper's protocol (arXiv 2401.13719) on a set of faces: its backbones, its attacks, both knowledge settings.

None of the paper's numbers are here: we do not know them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.readers.open import locate
from benchmark.evaluation.session import Session
from benchmark.evaluation.verification_pairs import PairsReport, recognise_pairs
from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.protocol.tracks import PAPER, PAPER_INVERSION
from benchmark.records.record import Record
from benchmark.records.results import InversionRecord
from benchmark.runtime.atomic import write_text
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.shadows import auxiliary_people

PUBLIC_SETS = {"CASIA-WebFace": 490_000, "MS1M-ArcFace": 5_800_000}  # photos, about


@dataclass(frozen=True)
class PaperRun:
    """What was found on one backbone."""

    backbone: str
    record: Record
    inversion: InversionRecord
    lists: tuple[PairsReport, ...]
    training: Mapping[str, Any]
    batch_size: int
    epochs: int

    def hours(self) -> dict[str, str]:
        """How long a whole public set would train at the speed measured here, with the arithmetic."""
        speed = float(self.training.get("photos_per_second", 0.0))
        if speed <= 0:
            return {}
        return {
            name: f"{photos:,} photos x {self.epochs} epochs / {speed:.0f} photos a second / 3600 = "
            f"{photos * self.epochs / speed / 3600:.1f} hours"
            for name, photos in PUBLIC_SETS.items()
        }

    def document(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "backbone": self.backbone,
            "record": self.record.model_dump(mode="json"),
            "inversion": self.inversion.model_dump(mode="json"),
            "lists": [
                {"file": r.file, "pairs": r.pairs, "metrics": {k: m.model_dump(mode="json") for k, m in r.metrics.items()}}
                for r in self.lists
            ],
            "projected_hours": self.hours(),
        }


def verification_lists(data: Path) -> list[Path]:
    """The ``.bin`` files beside a set."""
    path = locate(data).path
    return sorted((path if path.is_dir() else path.parent).glob("*.bin"))


def run_paper(
    session: Session,
    backbones: Sequence[BackboneSpec],
    out: Path,
    *,
    lists: Sequence[Path],
    generator: Path | None = None,
    reconstructions: int | None = None,
) -> list[PaperRun]:
    """Trains (or resumes, or loads) each backbone undefended and attacks it; writes a record for each to ``out``.

    Raises:
        FaceVeilError: a backbone named twice, or too few people for the attacker's shadows.
    """
    if len({spec.name for spec in backbones}) != len(backbones):
        raise FaceVeilError("each backbone must be named once.")
    auxiliary_people(session.populations, 0)  # too few of them are a property of the set: reported before hours of training
    runs = []
    for spec in backbones:
        submission = _trained(session, spec, out / spec.name)
        record = session.evaluate(submission, PAPER)
        session.progress.step(f"verification lists: {spec.name}")
        reports = recognise_pairs(submission, list(lists), seed=0, device=session.device, step=session.progress.step)
        evaluation = session.inversion(submission, generator=generator, reconstructions=reconstructions)
        found = evaluation.run(PAPER_INVERSION)
        config = session.populations.track.training
        run = PaperRun(spec.name, record, found, tuple(reports), submission.card.training, config.batch_size, config.epochs)
        write_text(out / f"{spec.name}.json", record.model_copy(update={"inversion": found}).model_dump_json(indent=1))
        runs.append(run)
    return runs


def _trained(session: Session, spec: BackboneSpec, folder: Path) -> Submission:
    if is_packed(folder):
        return load_submission(folder)
    return session.train(DefenseSpec(name="undefended"), 0, folder, card={"team": "paper", "name": spec.name}, backbone=spec)
