"""``faceveil.train | evaluate | load_records``: what the commands of these names do, from a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.evaluation.session import Session
from benchmark.interfaces import AttackSpec, BackboneSpec, FaceVeilError
from benchmark.protocol.tracks import get_track
from benchmark.runtime.progress import Progress, Silent
from benchmark.service.store import Store
from benchmark.submissions.checkpoint_import import open_weights
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.composition import parse_defenses

if TYPE_CHECKING:
    from benchmark.records.record import Record


def _path(value: Path | str | None) -> Path | None:
    return None if value is None else Path(value).expanduser()


def _session(
    track: str, data: Path | str | None, init: Path | str | None, device: torch.device | str, progress: Progress | None
) -> Session:
    start = None if init is None else open_weights(Path(init).expanduser())
    return Session(get_track(track), _path(data), device, init=start, progress=progress or Silent())


def train(
    track: str,
    defense: str = "undefended",
    *,
    out: Path | str,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    data: Path | str | None = None,
    init: Path | str | None = None,
    backbone: BackboneSpec | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Submission:
    """Trains a defended backbone on a track's members and writes a submission to ``out``.

    Args:
        defense: a name, or several composed as ``first+second``; see ``faceveil list defenses``.
        settings: of the defence; of several as ``{"second.key": value}``.
        data: aligned faces, for tracks that read some.
        init: weights to fine-tune: a submission or a public checkpoint.

    Raises:
        FaceVeilError: unknown names or settings, data that do not fit, or ``out`` is not free.
    """
    folder = Path(out).expanduser()
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise FaceVeilError(f"{folder} exists and is not empty; choose another out=, or remove it first.")
    specs = parse_defenses(defense, dict(settings or {}))
    return _session(track, data, init, device, progress).train(specs, seed, folder, backbone=backbone)


def evaluate(
    submission: Submission | Path | str,
    track: str,
    *,
    attacks: Sequence[AttackSpec] | None = None,
    data: Path | str | None = None,
    init: Path | str | None = None,
    store: bool = True,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Record:
    """A track's utility tests and attacks on a submission; resumes where an interrupted run stopped.

    Args:
        attacks: only these; the record is then neither ranked nor stored.
        store: keep the record in the store, where ``load_records`` and the leaderboard find it.

    Raises:
        FaceVeilError: a submission that fails a check, or data that do not fit the track.
    """
    loaded = submission if isinstance(submission, Submission) else load_submission(Path(submission).expanduser())
    record = _session(track, data, init, device, progress).evaluate(loaded, attacks)
    if store and attacks is None:
        with closing(Store()) as kept:
            kept.add_record(record)
    return record


def load_records(track: str | None = None) -> list[Record]:
    """The records in the store, of one track or of all."""
    with closing(Store()) as store:
        return list(store.records(get_track(track).name if track else None))
