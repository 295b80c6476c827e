"""Every check of a submission, those included that only the live backbone shows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from benchmark.interfaces import BackboneSpec
from benchmark.submissions.expected_shapes import check_cost, expected_shapes
from benchmark.submissions.probes import signature
from benchmark.submissions.red_flags import problems_of, red_flags
from benchmark.submissions.report import Flag, Report
from benchmark.submissions.submission import read_with_problems
from benchmark.submissions.training_cost import check_settings, training_cost


def validate(path: Path | str, probes: Tensor | None = None) -> Report:
    """Every problem of a submission at once, those included that only the live backbone shows.

    Args:
        probes: photos (B, 3, H, W) uint8 to try it on; without them seeded noise is used.
    """
    submission, problems = read_with_problems(Path(path))
    if submission is None:
        return Report(path=str(path), problems=tuple(problems))
    found: tuple[Flag, ...] = ()
    known = ""
    problems = [*check_settings(submission.card), *check_cost(submission.card.backbone, submission.card.input.size)]
    if not problems:
        backbone = submission.shared_backbone()  # built once: the largest take half a gigabyte
        found = red_flags(submission, probes, backbone=backbone)
        problems = problems_of(found)
    if not problems:
        known = signature(backbone, submission.card.input)
    return Report(
        path=str(path),
        submission_id=submission.submission_id,
        weights_sha256=submission.weights_sha256,
        card=submission.card,
        problems=tuple(problems),
        flags=tuple(flag for flag in found if flag.severity != "error"),
        probes=known,
        cost=None if problems else training_cost(submission.card),
    )


def load_all() -> None:
    """Loads what the first check would load, where files may be written: torch looks for a temporary folder."""
    tempfile.gettempdir()  # found by writing a file; kept by Python for the process
    expected_shapes(BackboneSpec(name="mobilefacenet", kwargs={"width": 0.125, "input_size": [32, 32]}))
