"""Which FaceVeil this is, and where its source and documents stand: what the installed package says of itself."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata


@cache
def version() -> str:
    """The version; empty where the package is not installed but merely on the path."""
    try:
        return str(metadata("faceveil")["Version"])
    except PackageNotFoundError:
        return ""


@cache
def addresses() -> tuple[tuple[str, str], ...]:
    """Name and address of each ``Project-URL`` of the package's metadata that a browser can open; none are made up."""
    try:
        stated = metadata("faceveil").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ()
    pairs = [tuple(part.strip() for part in text.split(",", 1)) for text in stated]
    return tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[1].startswith(("https://", "http://")))
