"""Uploads of submissions, and what a team may do with its own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, State
from benchmark.service.store import Store
from benchmark.service.teams import Team, TokenError
from leaderboard.api.errors import ApiError
from leaderboard.api.queries import one_of

AT_ONCE, AT_ONCE_OF_A_TEAM = 16, 2  # uploads
PAUSE_SECONDS = 60.0  # that may pass between two pieces of an upload
GRACE_SECONDS, LEAST_RATE = 30.0, 16 * 1024  # from then on an upload has at least so many bytes for each second
CHECK_SECONDS = 120.0  # that an answer waits for the checks; they go on after it
_WRONG_TOKENS = 20  # of one address within a minute
_TYPES = ("application/zip", "application/octet-stream", "application/x-zip-compressed")


class Uploads:
    """Handlers of what needs a token."""

    def __init__(self, store: Store, intake: Intake, base: str = "") -> None:
        self._base = base
        self.store = store
        self.intake = intake
        self._running: Counter[int] = Counter()  # by team
        self._going_on: set[asyncio.Future[Job]] = set()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    async def submit(self, request: Request) -> Response:
        """Uploads a zip (the body itself) and checks it: ?consent=yes queues it; 201, or 422 with every problem."""
        team = await self._team(request)
        size, consent = self._declared(request), one_of(request, "consent", ("yes", "no"))
        if self._running[team.id] >= AT_ONCE_OF_A_TEAM:
            message = f"{AT_ONCE_OF_A_TEAM} uploads of your team are under way. Wait for one to end."
            raise ApiError(429, "busy_team", message, {"Retry-After": "60"})
        if self._running.total() >= AT_ONCE:
            raise ApiError(503, "busy", f"{AT_ONCE} uploads are under way. Try again in a minute.", {"Retry-After": "60"})
        self._running[team.id] += 1
        try:
            job = await run_in_threadpool(self.store.queue.open, team, size)
            await self._receive(request, job)
        finally:
            self._running[team.id] -= 1
            self._running += Counter()  # forgets teams without any
        job = await self._checked(job)
        if job.state == State.VALIDATED and consent == "yes":
            job = await run_in_threadpool(self.store.queue.enqueue, job.id, team)
        status = {State.REFUSED: 422, State.QUARANTINED: 202}.get(job.state, 201)
        return self._told(job, status)

    async def act(self, request: Request) -> Response:
        """One of consent (queue a validated job), retry (a failed one), withdraw (any)."""
        team = await self._team(request)
        queue = self.store.queue
        actions = {"consent": queue.enqueue, "retry": queue.retry, "withdraw": self.intake.withdraw}
        action = actions.get(request.path_params["action"])
        if action is None:
            raise ApiError(404, "unknown_action", f"no such action; one of {', '.join(actions)}.")
        return self._told(await run_in_threadpool(action, request.path_params["job"], team), 200)

    def _told(self, job: Job, status: int) -> Response:
        headers = {"Location": f"{self._base}/api/v1/submissions/{job.id}", "Cache-Control": "no-store"}
        document = {"job": job.model_dump(mode="json")}
        if status == 422:
            message = " ".join(str(problem) for problem in job.problems)
            document["error"] = {"code": "refused", "message": message}
        return JSONResponse(document, status, headers)

    async def _checked(self, job: Job) -> Job:
        """The job after its checks, or as it stands where they take long: they go on, and a worker would take them up."""
        check = asyncio.ensure_future(run_in_threadpool(self.intake.check, job.id))
        done, _ = await asyncio.wait([check], timeout=CHECK_SECONDS)
        if done:
            return check.result()
        self._going_on.add(check)
        check.add_done_callback(self._ended)
        return await run_in_threadpool(self.store.queue.job, job.id)

    def _ended(self, check: asyncio.Future[Job]) -> None:
        self._going_on.discard(check)
        if not check.cancelled():
            check.exception()  # the job's log has it

    async def _receive(self, request: Request, job: Job) -> None:
        with self.intake.receiving(job) as incoming:
            pieces = request.stream().__aiter__()
            started = time.monotonic()
            while True:
                try:
                    piece = await asyncio.wait_for(anext(pieces), PAUSE_SECONDS)
                except StopAsyncIteration:
                    return
                except (TimeoutError, ClientDisconnect):
                    raise ApiError(
                        408, "upload_broken_off", "the upload was cut off before it was complete. Upload it again."
                    ) from None
                self._require_pace(time.monotonic() - started, incoming.size)
                if piece:
                    await run_in_threadpool(incoming.write, piece)

    def _require_pace(self, seconds: float, received: int) -> None:
        limits = self.store.queue.limits
        slow = received < (seconds - GRACE_SECONDS) * LEAST_RATE
        if slow or seconds > limits.upload_seconds:
            message = f"the upload is too slow: {LEAST_RATE // 1024} KiB a second, and {limits.upload_seconds:.0f} s at most."
            raise ApiError(408, "upload_too_slow", message)

    def _declared(self, request: Request) -> int:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in _TYPES:
            raise ApiError(415, "media_type", "send the zip itself as the body, with Content-Type: application/zip.")
        length = request.headers.get("content-length", "0")
        size = int(length) if length.isascii() and length.isdigit() else 0
        limit = self.store.queue.limits.upload_bytes
        if size > limit:
            raise ApiError(413, "too_large", f"the upload has {size} bytes (allowed: {limit}). Submit a smaller model.")
        return size

    async def _team(self, request: Request) -> Team:
        address = request.client.host if request.client else ""
        recent = [moment for moment in self._wrong.get(address, ()) if moment > time.monotonic() - 60]
        if len(recent) >= _WRONG_TOKENS:
            raise ApiError(429, "wrong_tokens", "too many wrong tokens. Try again in a minute.", {"Retry-After": "60"})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not token:
                raise TokenError("this needs a team's token: send the header Authorization: Bearer TOKEN.")
            return await run_in_threadpool(self.store.teams.authenticate, token.strip())
        except TokenError:
            self._wrong[address] = [*recent, time.monotonic()]
            self._wrong.move_to_end(address)
            while len(self._wrong) > 10_000:
                self._wrong.popitem(last=False)
            raise
