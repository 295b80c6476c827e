"""Which browser sessions may hand a file to the pages, and how much they may hold."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MEBIBYTE = 2**20
ALLOWED_SECONDS = 1800.0  # after a token was typed
_SESSIONS = 256  # that are remembered


class Allowance:
    """Browser sessions that may hand a file to the pages: those in which a team's token was typed, within a budget.

    A file stays in memory until it is removed or its session ends.

    Args:
        session_bytes: that one session may hold, ``total_bytes`` all together.
        active: whether a session still lives; what others held is free again.
    """

    def __init__(self, session_bytes: int, total_bytes: int, active: Callable[[str], bool] = lambda _session: True) -> None:
        self.session_bytes, self.total_bytes = session_bytes, total_bytes
        self._active = active
        self._until: OrderedDict[str, float] = OrderedDict()
        self._held: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def allow(self, session: str) -> None:
        """A token was typed in this session."""
        with self._lock:
            self._until[session] = time.monotonic() + ALLOWED_SECONDS
            self._until.move_to_end(session)
            while len(self._until) > _SESSIONS:
                self._until.popitem(last=False)

    def take(self, session: str, file: str, size: int) -> tuple[int, str]:
        """Counts a file; a status and a reason, 200 where it may come."""
        with self._lock:
            if self._until.get(session, 0.0) < time.monotonic():
                return 403, "type your team's token before you upload a file."
            self._held = {key: held for key, held in self._held.items() if self._active(key[0])}
            others = {key: held for key, held in self._held.items() if key != (session, file)}
            mine = sum(held for key, held in others.items() if key[0] == session)
            if mine + size > self.session_bytes:
                return 413, f"files of one page may have {self.session_bytes // MEBIBYTE} MB in all: remove one first."
            if sum(others.values()) + size > self.total_bytes:
                return 503, "as many files are being uploaded as this server can hold. Try again in a few minutes."
            self._held = {**others, (session, file): size}
            return 200, ""

    def drop(self, session: str, file: str) -> None:
        """A file was removed."""
        with self._lock:
            self._held.pop((session, file), None)


def _session_is_active(session: str) -> bool:
    from streamlit import runtime

    return runtime.exists() and runtime.get_instance().is_active_session(session)


# of this process: the pages allow, the server asks.  A page takes 200 MB, which the form around it may exceed a little
page_uploads = Allowance(201 * MEBIBYTE, 603 * MEBIBYTE, _session_is_active)
