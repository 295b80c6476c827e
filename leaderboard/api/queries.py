"""Parameters of a query: read, and refused where they can mean nothing."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import get_track, known_tracks
from leaderboard.api.errors import ApiError


def text_of(request: Request, name: str) -> str | None:
    """A short text of the query.

    Raises:
        ApiError: it is too long to be the name of anything.
    """
    given = request.query_params.get(name)
    if given is not None and len(given) > 200:
        raise ApiError(400, name, f"{name} has at most 200 characters.")
    return given


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query.

    Raises:
        ApiError: it is none, or out of range.
    """
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 12 and int(given) <= most):
        raise ApiError(400, name, f"{name} is a whole number from 0 to {most}.")
    return int(given)


def one_of(request: Request, name: str, allowed: Iterable[str]) -> str | None:
    """A text of the query that has few values.

    Raises:
        ApiError: it is none of them.
    """
    given = text_of(request, name)
    if given is not None:
        require(name, given, allowed)
    return given


def require(name: str, given: str, allowed: Iterable[str]) -> None:
    """Raises ApiError where what is ``given`` is none of those allowed."""
    names = [str(each) for each in allowed]
    if given not in names:
        raise ApiError(400, name, f"no such {name}; one of {', '.join(names) or 'none'}.")


def require_track(given: str | None, recorded: Iterable[str]) -> None:
    """Raises ApiError where there is no such track, variant or round, and no record of it either."""
    recorded = set(recorded)
    if given is None or given in recorded:
        return
    try:
        get_track(given)
    except FaceVeilError:
        require("track", given, sorted(recorded | known_tracks().keys()))
