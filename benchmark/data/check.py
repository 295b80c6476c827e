"""What a data set holds, what is wrong with it, and which tracks it can serve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.eye_positions import warnings_of
from benchmark.data.readers.open import locate, open_faces
from benchmark.data.readers.pairs import load_pairs
from benchmark.data.readers.record_check import check_records
from benchmark.data.readers.recordio import LargeRecordFaces, RecordFaces, RecordSource
from benchmark.data.readers.scan import Progress, ScanReport
from benchmark.data.splits import fit_roles
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Track


@dataclass(frozen=True)
class PairsCheck:
    """One verification list: how many pairs can be used, and what is wrong."""

    file: str
    pairs: int = 0
    same: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Fit:
    """Whether a set can serve a track: ``people`` per role as far as it goes, or the reason why not."""

    track: str
    people: dict[str, int] = field(default_factory=dict)
    complete: bool = False  # every role has as many people as the track asks for
    reason: str = ""


@dataclass(frozen=True)
class SetCheck:
    """What `faceveil data check` reports."""

    path: str
    kind: str
    report: ScanReport | None
    photos_per_person: tuple[int, float, int] = (0, 0.0, 0)  # least, median, most
    stated: str = ""  # what the `property` file says
    pairs: tuple[PairsCheck, ...] = ()
    tracks: tuple[Fit, ...] = ()
    digest: str = ""

    def document(self) -> dict[str, Any]:
        """Plain data."""
        found = asdict(replace(self, report=None))
        if self.report is not None:
            found |= {
                "people": self.report.people,
                "photos": self.report.photos,
                "people_are": self.report.note,
                "sizes": {f"{w}x{h}": n for (w, h), n in self.report.sizes.most_common()},
                "treated": dict(self.report.treated),
                "warnings": list(self.report.warnings),
                "skipped": [{"name": n, "reason": r} for n, r in self.report.skipped],
                "skipped_by_reason": dict(self.report.reasons()),
            }
        del found["report"]
        return found


def check_set(
    data: Path,
    size: int | None = None,
    *,
    tracks: Sequence[Track] = (),
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SetCheck:
    """Decodes every photo at ``data``, and every pair of the ``.bin`` files beside them.

    Args:
        size: side that photos are brought to; None: the side that most have.
        tracks: those asked about; of them only tracks that read photos are judged.
        workers: processes that decode the records of a large file.

    Raises:
        FaceVeilError: nothing there that can be read.
    """
    path = locate(data).path
    lists = _lists(path)
    if path.suffix == ".bin":
        return SetCheck(str(path), "verification pairs", None, pairs=tuple(_check_pairs(file) for file in lists))
    photos = open_faces(data, size, cache=cache, progress=progress)
    if isinstance(photos, LargeRecordFaces):
        source = photos.source
        assert isinstance(source, RecordSource)
        _, sizes = check_records(source, workers=workers, progress=progress)
        photos = open_faces(data, size, cache=cache)
        note = f"every one of {len(source)} records was decoded"
        photos = replace(photos, report=replace(photos.report, sizes=sizes, note=note))
    report = replace(photos.report, warnings=warnings_of(photos))
    stated, problems = _property(path, report)
    counts = np.bincount(photos.identity)
    return SetCheck(
        path=str(path),
        kind=_kind(photos),
        report=replace(report, warnings=(*report.warnings, *problems)),
        photos_per_person=(int(counts.min()), float(np.median(counts)), int(counts.max())),
        stated=stated,
        pairs=tuple(_check_pairs(file) for file in lists),
        tracks=tuple(_fit(track, counts) for track in tracks if track.source == "folder"),
        digest=photos.digest,
    )


def _kind(photos: EncodedFaces) -> str:
    if isinstance(photos, RecordFaces):
        source: Any = photos.source
        first = int(source.index.keys[0]) if len(source) else 0
        return "RecordIO" + (", with the records of InsightFace's own index" if first == 1 else "")
    return {"FolderContainer": "folder", "ZipContainer": "zip", "TarContainer": "tar"}[type(photos.source).__name__]


def _lists(path: Path) -> list[Path]:
    if path.suffix == ".bin":
        return [path]
    folder = path if path.is_dir() else path.parent if path.suffix in (".rec", ".idx") else None
    return sorted(folder.glob("*.bin")) if folder else []


def _check_pairs(file: Path) -> PairsCheck:
    try:
        pairs = load_pairs(file)
    except FaceVeilError as error:
        return PairsCheck(file.name, problem=str(error).splitlines()[0])
    left = pairs.listed - len(pairs)
    problem = f"{left} of {pairs.listed} pairs have a photo that cannot be used" if left else ""
    return PairsCheck(file.name, len(pairs), int(pairs.same.sum()), problem)


def _property(path: Path, report: ScanReport) -> tuple[str, list[str]]:
    """What the file beside a RecordIO file states, and where it differs from what is there."""
    file = (path if path.is_dir() else path.parent) / "property"
    if (path.suffix not in (".rec", ".idx") and not path.is_dir()) or not file.is_file():
        return "", []
    text = file.read_text(encoding="utf-8", errors="replace")[:200].strip()
    found = re.fullmatch(r"(\d+)\s*,\s*(\d+)\s*,\s*(\d+)", text)
    if not found:
        return text, [f"the file property holds {text[:60]!r} instead of people,height,width"]
    people, height, width = map(int, found.groups())
    problems = []
    if people != report.people:
        problems.append(f"the file property states {people} people, and {report.people} are there")
    if report.sizes and (width, height) not in report.sizes:
        problems.append(f"the file property states {width}x{height} pixels, and no photo has them")
    return f"{people} people, {width}x{height} pixels", problems


def _fit(track: Track, counts: np.ndarray) -> Fit:
    try:
        roles = fit_roles(counts, track.roles)
    except FaceVeilError as error:
        return Fit(track.name, reason=" ".join(line.strip() for line in str(error).splitlines()[:2]))
    people = {name: value for name, value in roles.model_dump().items() if isinstance(value, int)}
    return Fit(track.name, people, complete=roles == track.roles)
