"""Audits and attributions: what is found of a submission beside its evaluation, kept for its record."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pydantic import BaseModel, ConfigDict

from benchmark.interfaces import content_hash
from benchmark.records.results import Attribution, CanaryAudit
from benchmark.runtime.checked import read_sealed, write_sealed


class Findings(BaseModel):
    """The last of each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: CanaryAudit | None = None
    attribution: Attribution | None = None


class Fields(TypedDict):
    """The fields of a record that findings fill."""

    audit: CanaryAudit | None
    attribution: Attribution | None


def _path(cache: Path, submission_id: str, track: str) -> Path:
    return cache / "findings" / f"{content_hash(submission_id, track)}.json"


def load(cache: Path, submission_id: str, track: str) -> Findings:
    """What was found of a submission on a track; empty where nothing was."""
    text = read_sealed(_path(cache, submission_id, track), "run the audit or the attribution again")
    return Findings() if text is None else Findings.model_validate_json(text)


def as_record_fields(cache: Path, submission_id: str, track: str) -> Fields:
    """The same for a record."""
    found = load(cache, submission_id, track)
    return {"audit": found.audit, "attribution": found.attribution}


def save(cache: Path, submission_id: str, track: str, found: CanaryAudit | Attribution) -> dict[str, CanaryAudit | Attribution]:
    """Keeps a finding for the submission's next record; returns the field of a record that it fills."""
    field = "audit" if isinstance(found, CanaryAudit) else "attribution"
    updated = load(cache, submission_id, track).model_copy(update={field: found})
    write_sealed(_path(cache, submission_id, track), updated.model_dump_json())
    return {field: found}
