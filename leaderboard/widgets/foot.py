"""What stands at the foot of every page: the version, the interface for programs, and where source and documents are."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

import streamlit as st


def draw() -> None:
    """Draws it.  Links are relative, so that they hold below a proxy's path, too."""
    st.divider()
    parts = [_version(), "[HTTP API](api/v1)", "[About and definitions](about)", *_links()]
    st.markdown(" · ".join(parts))  # no caption: those are paler, and links in them too pale to read


@cache
def _version() -> str:
    try:
        return f"FaceVeil {metadata('faceveil')['Version']}, Apache-2.0"
    except PackageNotFoundError:
        return "FaceVeil, Apache-2.0"


@cache
def _links() -> list[str]:
    """The addresses that the installed package states in its metadata, such as ``[Source](...)``."""
    try:
        stated = metadata("faceveil").get_all("Project-URL") or []
    except PackageNotFoundError:
        return []
    pairs = (text.partition(",") for text in stated)
    return [f"[{name.strip()}]({address.strip()})" for name, _, address in pairs]
