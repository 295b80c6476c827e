"""What stands at the foot of every page: the version, the interface for programs, and where source and documents are."""

from __future__ import annotations

import streamlit as st

from leaderboard.board.release import addresses, version


def draw() -> None:
    """Draws it.  Links of the board are relative, so that they hold below a proxy's path, too."""
    st.divider()
    own = ["[HTTP API](api/v1)", "[About and definitions](about)"]
    parts = [f"FaceVeil {version()}".strip() + ", Apache-2.0", *own, *(f"[{name}]({address})" for name, address in addresses())]
    st.markdown(" · ".join(parts))  # no caption: those are paler, and links in them too pale to read
