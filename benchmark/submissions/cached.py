"""Submissions that this installation made and keeps: what was damaged since is made again, and blamed on nobody."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

from benchmark.runtime.atomic import write_text
from benchmark.submissions.package import is_packed
from benchmark.submissions.problems import SubmissionError
from benchmark.submissions.submission import Submission, load_submission
from benchmark.submissions.tensor_file import digest

_log = logging.getLogger("faceveil.cache")


def _seal(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def _digest(submission: Submission) -> str:
    """Of everything in it: weights, head and card."""
    head = digest(submission.head) if submission.head is not None else ""
    return digest({}, submission.weights_sha256, head, submission.card.model_dump(mode="json"))


def keep(submission: Submission) -> Submission:
    """Leaves the checksum of a submission that was just packed beside its folder."""
    if submission.path is not None:
        write_text(_seal(submission.path), _digest(submission))
    return submission


def kept(path: Path) -> Submission | None:
    """A submission that was made before; None: there is none, or it was damaged, which is logged, and it is removed."""
    if not is_packed(path):
        return None
    try:
        submission = load_submission(path)
    except SubmissionError as error:
        _discard(path, str(error.codes))
        return None
    wanted = None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        wanted = _seal(path).read_text(encoding="ascii").strip()
    if wanted and wanted != _digest(submission):  # without one it was written by an older version
        _discard(path, "it is not what was written")
        return None
    return submission


def _discard(path: Path, why: str) -> None:
    _log.warning("cached backbone %s is damaged (%s) and is made again", path, why)
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        _seal(path).unlink()
