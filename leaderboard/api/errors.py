"""Errors of the API: a status, a code for programs and a message for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from benchmark.interfaces import FaceVeilError
from benchmark.service.database import StoreError, StoreVersionError
from benchmark.service.jobs import ForeignJobError, LimitError, MoveError, UnknownJobError
from benchmark.service.quarantine import DiskFullError, TooLargeError
from benchmark.service.store import UnknownRecordError
from benchmark.service.teams import TokenError

# the first that fits: class, status, code
_KNOWN: tuple[tuple[type[FaceVeilError], int, str], ...] = (
    (UnknownRecordError, 404, "unknown_record"),
    (UnknownJobError, 404, "unknown_job"),
    (TokenError, 401, "wrong_token"),
    (ForeignJobError, 403, "foreign_job"),
    (MoveError, 409, "wrong_state"),
    (LimitError, 429, "limit"),
    (TooLargeError, 413, "too_large"),
    (DiskFullError, 507, "disk_full"),
    (StoreVersionError, 410, "unreadable_record"),
)


class ApiError(FaceVeilError):
    """A request that cannot be answered."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def document(code: str, message: str) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": code, "message": message}}


def _told(_request: Request, error: Exception) -> Response:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, ApiError):
        return JSONResponse(document(error.code, str(error)), error.status, headers | error.headers)
    if isinstance(error, LimitError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TokenError):
        headers["WWW-Authenticate"] = "Bearer"
    for kind, status, code in _KNOWN:
        if isinstance(error, kind):
            return JSONResponse(document(code, str(error)), status, headers)
    # what is wrong with the store may name paths and addresses: not for everybody
    message = "the store cannot be used at the moment. Try again in a while."
    return JSONResponse(document("store", message), 503, headers | {"Retry-After": "10"})


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "there is no such address; /api lists them all.", 405: "this address does not support that method."}
    message = reason.get(error.status_code, error.detail)
    return JSONResponse(document(f"http_{error.status_code}", message), error.status_code, {"Cache-Control": "no-store"})


def _fault(_request: Request, _error: Exception) -> Response:
    return JSONResponse(document("fault", "an error of the server; the evaluator's log says more."), 500)


def error_handlers() -> dict[Any, Any]:
    """Handlers for an application."""
    return {FaceVeilError: _told, StoreError: _told, HTTPException: _http, Exception: _fault}
