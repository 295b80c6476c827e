"""Records in files: JSON, one record or a list of them; what lies beside them is joined to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.interfaces import FaceVeilError
from benchmark.records import beside
from benchmark.records.record import Record


def items(path: Path) -> list[Any]:
    """What stands in a file, each of it a record or not, as plain data.

    Raises:
        OSError, ValueError, RecursionError: the file cannot be read, or not as JSON.
    """
    content = json.loads(path.read_bytes())
    found = content if isinstance(content, list) else [content]
    return [beside.joined(item, path.parent) for item in found]


def record_of(item: Any) -> Record:
    """The record in such data, by the rules of JSON, under which no number overflows.

    Raises:
        ValueError: it is none.
    """
    return Record.model_validate_json(json.dumps(item))


def problem(error: Exception) -> str:
    """Why something is no record, in half a line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"not JSON ({error})"


def read_record(path: Path) -> Record:
    """The one record of a file.

    Raises:
        FaceVeilError: it holds none, or several.
    """
    try:
        found = [record_of(item) for item in items(path)]
    except (OSError, ValueError, RecursionError) as error:
        raise FaceVeilError(f"{path} is not a record ({problem(error)}). Pass what `faceveil evaluate --out` wrote.") from None
    if len(found) != 1:
        raise FaceVeilError(f"{path} holds {len(found)} records: give a file with one.")
    return found[0]
