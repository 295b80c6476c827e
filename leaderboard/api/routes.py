"""The HTTP API: what the board knows as JSON for all, and uploads for teams.  Its document for people is ``docs/api.md``.

Paths stand below ``/api/v1``; ``/api`` alone means the newest version.  Reads are public and cached on the store's version,
with ETags.  Uploads are streamed to quarantine piece by piece and checked in a process of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import version as installed
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmark.interfaces import FaceVeilError
from benchmark.records.exporting import eval_results_yaml, model_index_yaml
from benchmark.records.runs import BOARDS
from benchmark.service.intake import Intake
from benchmark.service.jobs import State
from benchmark.service.store import Store
from leaderboard.api.answers import Answer, Answers
from leaderboard.api.errors import ApiError, error_handlers
from leaderboard.api.queries import number, one_of, require, require_track, text_of
from leaderboard.api.records import Listing
from leaderboard.api.uploads import Uploads

VERSION = "v1"
MOST = 500  # items of one page of a list


class Api:
    """The handlers; each is one address."""

    def __init__(self, store: Store, listing: Listing, intake: Intake, base: str = "") -> None:
        self.store = store
        self.base = base
        self.listing = listing
        self.uploads = Uploads(store, intake, base)
        self._records = Answers(listing.version)
        self._jobs = Answers(store.queue.version)

    async def _answer(self, answers: Answers, request: Request, make: Callable[[], Any], *asked: Any) -> Response:
        """The answer for a path and what was ``asked``: the query as it was understood, whatever else it says."""
        key = (request.url.path, asked)
        answer = answers.kept(key)
        if answer is None:
            answer = await run_in_threadpool(answers.get, key, lambda: _finished(make()))
        return answer.response(request)

    async def index(self, request: Request) -> Response:
        """Every address of the API."""
        return await self._answer(self._records, request, lambda: openapi(self.base))

    async def healthz(self, _request: Request) -> Response:
        """200 where the store answers, 503 where it does not; never cached."""
        try:
            versions = await run_in_threadpool(lambda: [self.store.version(), self.store.queue.version()])
        except FaceVeilError as error:
            return JSONResponse({"status": "down", "reason": type(error).__name__}, 503, {"Cache-Control": "no-store"})
        document = {"status": "ok", "faceveil": installed("faceveil"), "records": versions[0], "queue": versions[1]}
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def records(self, request: Request) -> Response:
        """Records in brief: ?track, ?board, ?limit, ?offset."""
        limit, offset = number(request, "limit", 100, MOST), number(request, "offset", 0, 10**9)
        track, board = text_of(request, "track"), one_of(request, "board", BOARDS)

        def make() -> Answer:
            require_track(track, self.listing.tracks())
            return Answer.of(self.listing.records(track, board, limit, offset))

        return await self._answer(self._records, request, make, track, board, limit, offset)

    async def record(self, request: Request) -> Response:
        """One whole record."""
        name = request.path_params["name"]
        return await self._answer(self._records, request, lambda: Answer.of(self.listing.record(name).model_dump_json()))

    async def model_index(self, request: Request) -> Response:
        """One record as ``model-index`` YAML for a model card on the Hugging Face Hub."""
        name = request.path_params["name"]
        text = partial(Answer.of, media_type="application/yaml")
        return await self._answer(self._records, request, lambda: text(model_index_yaml([self.listing.record(name)])))

    async def eval_results(self, request: Request) -> Response:
        """One record as ``.eval_results`` YAML: ?dataset=namespace/name of the benchmark on the Hub."""
        name, dataset = request.path_params["name"], text_of(request, "dataset") or ""
        if "/" not in dataset:
            raise ApiError(400, "dataset", "name the benchmark on the Hub: ?dataset=namespace/name.")
        text = partial(Answer.of, media_type="application/yaml")
        return await self._answer(
            self._records, request, lambda: text(eval_results_yaml([self.listing.record(name)], dataset)), dataset
        )

    async def removals(self, request: Request) -> Response:
        """Records that the evaluator removed, when and why."""
        make = lambda: {"removals": [row.model_dump(mode="json") for row in self.store.removals()]}  # noqa: E731
        return await self._answer(self._records, request, make)

    async def rounds(self, request: Request) -> Response:
        """Rounds: the sha256 of each one's secret, and the secret once it is revealed."""
        make = lambda: {"rounds": [row.model_dump(mode="json") for row in self.store.rounds.all()]}  # noqa: E731
        return await self._answer(self._records, request, make)

    async def leaderboard(self, request: Request) -> Response:
        """The ranking of a track: ?track, ?board, ?limit, ?offset."""
        track, board = text_of(request, "track"), one_of(request, "board", BOARDS)
        limit, offset = number(request, "limit", 10**9, 10**9), number(request, "offset", 0, 10**9)

        def make() -> Answer:
            require_track(track, self.listing.tracks())
            return Answer.of(self.listing.ranking(track, board, limit, offset))

        return await self._answer(self._records, request, make, track, board, limit, offset)

    async def queue(self, request: Request) -> Response:
        """What waits, runs, was published or failed: ?state, ?team, ?track, ?limit, ?offset."""
        state, team, track = one_of(request, "state", tuple(State)), text_of(request, "team"), text_of(request, "track")
        limit, offset = number(request, "limit", 100, MOST), number(request, "offset", 0, 10**9)

        def make() -> dict[str, Any]:
            self._require_queued(team, track)
            states = [State(state)] if state else None
            jobs = self.store.queue.jobs(states, team=team, track=track, limit=limit, offset=offset)
            return {"counts": self.store.queue.counts(), "jobs": [job.model_dump(mode="json") for job in jobs]}

        return await self._answer(self._jobs, request, make, state, team, track, limit, offset)

    def _require_queued(self, team: str | None, track: str | None) -> None:
        """Refuses names that neither exist nor stand on a job: a card may have named a track that there is not."""
        queue = self.store.queue
        if team is not None and not queue.jobs(team=team, limit=1):
            require("team", team, [known.name for known in self.store.teams.all()])
        if track is not None and not queue.jobs(track=track, limit=1):
            require_track(track, self.listing.tracks())

    async def teams(self, request: Request) -> Response:
        """Teams, and how much each has submitted."""
        names = ("name", "submissions", "published")
        return await self._answer(
            self._jobs, request, lambda: {"teams": [team.model_dump(include=set(names)) for team in self.store.teams.all()]}
        )

    async def job(self, request: Request) -> Response:
        """One submission on its way, with the end of its log."""
        return await self._answer(self._jobs, request, lambda: self._job(request.path_params["job"]))

    def _job(self, name: str) -> dict[str, Any]:
        log = [event.model_dump(mode="json") for event in self.store.queue.log(name)]
        return {"job": self.store.queue.job(name).model_dump(mode="json"), "log": log}


def _finished(made: Any) -> Answer:
    return made if isinstance(made, Answer) else Answer.of(made)


_TABLE: tuple[tuple[str, str, str], ...] = (
    ("GET", "/healthz", "healthz"),
    ("GET", "/records", "records"),
    ("GET", "/records/{name}", "record"),
    ("GET", "/records/{name}/model-index", "model_index"),
    ("GET", "/records/{name}/eval-results", "eval_results"),
    ("GET", "/removals", "removals"),
    ("GET", "/rounds", "rounds"),
    ("GET", "/leaderboard", "leaderboard"),
    ("GET", "/queue", "queue"),
    ("GET", "/teams", "teams"),
    ("GET", "/submissions/{job}", "job"),
    ("POST", "/submissions", "uploads.submit"),
    ("POST", "/submissions/{job}/{action}", "uploads.act"),
)


_TEXT = {"type": "string", "maxLength": 200}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "track": _TEXT,
    "team": _TEXT,
    "dataset": _TEXT,
    "board": {"type": "string", "enum": list(BOARDS)},
    "state": {"type": "string", "enum": list(State)},
    "consent": {"type": "string", "enum": ["yes", "no"]},
    "limit": {"type": "integer", "minimum": 0},
    "offset": {"type": "integer", "minimum": 0},
}


def _handler(api: Any, path: str) -> Any:
    for name in path.split("."):
        api = getattr(api, name)
    return api


def openapi(base: str = "") -> dict[str, Any]:
    """The API in the terms of OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, name in _TABLE:
        owner = Uploads if name.startswith("uploads.") else Api
        summary = str(getattr(owner, name.split(".")[-1]).__doc__).strip().splitlines()[0]
        query = re.findall(r"\?(\w+)", summary)
        operation: dict[str, Any] = {"summary": summary, "responses": {"default": {"description": "JSON"}}}
        if method == "POST":
            operation["security"] = [{"team": []}]
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation["parameters"] = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
        operation["parameters"] += [{"name": n, "in": "query", "schema": _PARAMETERS[n]} for n in query]
        if query:
            operation["responses"]["400"] = {"description": "a parameter that cannot be; the message names those that can"}
        paths.setdefault(f"/{VERSION}{path}", {})[method.lower()] = operation
    scheme = {"team": {"type": "http", "scheme": "bearer", "description": "A team's token."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "FaceVeil leaderboard", "version": VERSION},
        "servers": [{"url": f"{base}/api"}],
        "paths": paths,
        "components": {"securitySchemes": scheme},
    }


def routes(api: Api, base: str = "") -> list[Route]:
    """Every address, with the version and without it."""
    found = [Route(f"{base}{path}", api.index, methods=["GET"]) for path in ("/api", f"/api/{VERSION}", "/api/openapi.json")]
    for prefix in (f"{base}/api/{VERSION}", f"{base}/api"):
        found += [Route(f"{prefix}{path}", _handler(api, name), methods=[method]) for method, path, name in _TABLE]
    return found


def application(store: Store, listing: Listing, intake: Intake, base: str = "") -> Starlette:
    """The API as an application of its own; requests for other paths are answered by 404."""
    return application_of(Api(store, listing, intake, base), base)


def application_of(api: Api, base: str = "") -> Starlette:
    """The application of some handlers; scripts on other pages may ask it."""
    anywhere = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "If-None-Match"],
        expose_headers=["ETag", "Location", "Retry-After"],
    )
    return Starlette(routes=routes(api, base), middleware=[anywhere], exception_handlers=error_handlers())
