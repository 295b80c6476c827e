"""What ``import faceveil`` gives: a page of names, each loaded when it is first used.

report = faceveil.audit(model, members="photos/trained", nonmembers="photos/others")
submission = faceveil.train("synthetic-quick", "distillation", out="run/distilled")
record = faceveil.evaluate(submission, "synthetic-quick")
faceveil.rank(faceveil.load_records("synthetic-quick"))
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "AuditShadow": "benchmark.evaluation.audit.observations",
    "FaceVeilError": "benchmark.interfaces",
    "audit": "benchmark.evaluation.audit.model_audit",
    "evaluate": "benchmark.service.notebook",
    "load_records": "benchmark.service.notebook",
    "load_submission": "benchmark.submissions.submission",
    "rank": "benchmark.records.ranking",
    "train": "benchmark.service.notebook",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'faceveil' has no attribute {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
