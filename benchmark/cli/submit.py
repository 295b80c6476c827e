"""``faceveil submit | withdraw | queue``: hand in a submission and follow it, on this machine or a remote board."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.output import Json, emit, facts, out, steps, table
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.service.client import Remote
    from benchmark.service.store import Store

Url = Annotated[
    str | None, typer.Option(envvar="FACEVEIL_URL", help="Address of a remote leaderboard; default this machine's store.")
]
Token = Annotated[str | None, typer.Option(envvar="FACEVEIL_TOKEN", help="Your team's token.", show_envvar=True)]
StoreOption = Annotated[str | None, typer.Option("--store", envvar="FACEVEIL_STORE_URL", help="Path or URL of the store.")]

CONSENT = (
    "By handing in you agree that the evaluator keeps and evaluates the submission, and that its card and its results are "
    "shown for good, under the licence that the card states. It can be withdrawn; it then stays listed."
)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("submit")(submit)
    app.command("withdraw")(withdraw)
    app.command("queue")(queue)


def open_store(location: str | None) -> Store:
    """The store at a location, or the usual one."""
    from benchmark.service.store import Store

    return Store(location)


def _remote(url: str, token: str | None, needs_token: bool = True) -> Remote:
    from benchmark.service.client import Remote

    if needs_token and not token:
        raise FaceVeilError("a leaderboard elsewhere wants your team's token: pass --token, or set FACEVEIL_TOKEN.")
    return Remote(url, token)


def submit(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    url: Url = None,
    token: Token = None,
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; submit nothing.")] = False,
    json: Json = False,
) -> None:
    """Checks a submission, submits it and queues it.

    Everything is checked here first, so that a mistake costs no upload, and again where it arrives.
    """
    from benchmark.submissions.problems import refusal
    from benchmark.submissions.validation import validate

    with steps() as progress:
        progress.step(f"checking {submission}")
        report = validate(submission)
    if report.problems:
        raise refusal(report.problems)
    if dry_run:
        document = {"valid": True, "submission_id": report.submission_id, "flags": [f.model_dump() for f in report.flags]}
        emit(document, json, lambda: facts(document))
        return
    remote = _remote(url, token) if url else None  # a missing token, or a wrong one here, before anybody is asked to agree
    if remote is None and token:
        open_store(store).teams.authenticate(token)
    if not yes:
        if json or sys.stdin is None or not sys.stdin.isatty():  # None: started with it closed
            raise FaceVeilError(f"{CONSENT} Nobody can be asked here: pass --yes to agree.")
        out.print(CONSENT)
        typer.confirm("Do you agree?", abort=True)
    with steps() as progress, tempfile.TemporaryDirectory(prefix="faceveil-") as work:
        archive = _zipped(submission, Path(work))
        progress.step(f"handing in {archive.stat().st_size / 2**20:.1f} MiB")
        job = _there(archive, remote) if remote is not None else _here(archive, token, store)
    if job["state"] == "refused":
        from benchmark.submissions.problems import Problem

        raise refusal([Problem(**problem) for problem in job["problems"]])
    emit(job, json, lambda: _show(job, ()))
    typer.echo(f"Follow it: faceveil queue {job['id']}{f' --url {url}' if url else ''}", err=True)


def _there(archive: Path, remote: Remote) -> dict[str, Any]:
    """Submits to a remote board; a refusal is a job, too."""
    from benchmark.service.client import RemoteError

    try:
        return dict(remote.submit(archive, True)["job"])
    except RemoteError as error:
        if "job" not in error.document:
            raise
        return dict(error.document["job"])


def _zipped(submission: Path, work: Path) -> Path:
    if submission.is_file():
        return submission
    from benchmark.submissions.submission import pack_zip

    return pack_zip(submission, work / "submission.zip")


def _here(archive: Path, token: str | None, location: str | None) -> dict[str, Any]:
    """Submits to the store of this machine; it was checked in this process already, by the same code."""
    from benchmark.service.intake import CHUNK, Intake
    from benchmark.service.jobs import State
    from benchmark.submissions.validation import validate

    store = open_store(location)
    team = store.teams.authenticate(token) if token else store.teams.local()
    intake, job = Intake(store, check=validate), store.queue.open(team, archive.stat().st_size)
    try:
        with intake.receiving(job) as incoming, archive.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                incoming.write(chunk)
        job = intake.check(job.id)
        if job.state == State.VALIDATED:
            job = store.queue.enqueue(job.id, team)
    except BaseException:  # the same command again is another job
        with contextlib.suppress(FaceVeilError):
            intake.withdraw(job.id, team, "it was broken off")
        raise
    return job.model_dump(mode="json")


def withdraw(
    job: Annotated[str, typer.Argument(help="The job's id, as `faceveil queue` shows it.")],
    url: Url = None,
    token: Token = None,
    store: StoreOption = None,
    reason: Annotated[str, typer.Option(help="Shown in the log.")] = "",
    json: Json = False,
) -> None:
    """Withdraws a submission.  It stays listed; its record stays too, marked and unranked."""
    if url:
        document = _remote(url, token).act(job, "withdraw")["job"]
    else:
        from benchmark.service.intake import Intake

        here = open_store(store)
        team = here.teams.authenticate(token) if token else None
        document = Intake(here, check=_unused).withdraw(job, team, reason).model_dump(mode="json")
    emit(document, json, lambda: _show(document, ()))


def _unused(_path: Path) -> Any:
    raise AssertionError("nothing is checked by this command")


def queue(
    job: Annotated[str | None, typer.Argument(help="Only this job, with the end of its log.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Queue a failed job again.")] = False,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Show at most this many jobs.")] = 50,
    url: Url = None,
    token: Token = None,
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Shows jobs that are waiting, running, published or failed, and the reasons of failures."""
    if retry and job is None:
        raise typer.BadParameter("--retry wants the id of a job")
    if url:
        remote = _remote(url, token, needs_token=retry)
        if job is None:
            document = remote.queue(state=state, team=team, limit=limit)
        else:
            if retry:
                remote.act(job, "retry")
            document = remote.job(job)
    else:
        document = _looked_up(open_store(store), job, retry, token, state, team, limit)
    if job is None:
        emit(document, json, lambda: _list(document))
    else:
        emit(document, json, lambda: _show(document["job"], document["log"], url))


def _looked_up(
    store: Store, job: str | None, retry: bool, token: str | None, state: str | None, team: str | None, limit: int
) -> dict[str, Any]:
    from benchmark.service.jobs import State

    if job is not None:
        if retry:
            store.queue.retry(job, store.teams.authenticate(token) if token else None)
        log = [event.model_dump(mode="json") for event in store.queue.log(job)]
        return {"job": store.queue.job(job).model_dump(mode="json"), "log": log}
    if state is not None and state not in list(State):
        raise FaceVeilError(f"no state {state!r}; one of {', '.join(State)}.")
    jobs = store.queue.jobs([State(state)] if state else None, team=team, limit=limit)
    return {"counts": store.queue.counts(), "jobs": [found.model_dump(mode="json") for found in jobs]}


def _list(document: Mapping[str, Any]) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in document["counts"].items() if count)
    rows = [
        [j["id"], _state(j), j["name"] or "–", j["team"], j["track"] or "–", j["updated"][:16].replace("T", " ")]
        for j in document["jobs"]
    ]
    table(counts or "nothing was submitted yet", ["job", "state", "name", "team", "track", "since (UTC)"], rows, whole=(0,))
    for job in document["jobs"]:
        if job["problems"]:
            out.print(f"{job['id']} {job['state']}: {_why(job)}", markup=False, soft_wrap=True)


def _state(job: Mapping[str, Any]) -> str:
    return f"{job['state']}, {job['position']}. in line" if job["position"] else str(job["state"])


def _why(job: Mapping[str, Any]) -> str:
    return " ".join(f"{p['message']} {p['remedy']}" for p in job["problems"]).replace("queue JOB", f"queue {job['id']}")


def _show(job: Mapping[str, Any], log: Sequence[Mapping[str, Any]], url: str | None = None) -> None:
    """A job with the end of its log; for a published one, where its record is."""
    names = ("id", "name", "team", "track", "submission_id", "worker", "record")
    where = ""
    if job["record"]:
        here = "faceveil leaderboard, page Queue" if url is None else f"{url.rstrip('/')}/queue?job={job['id']}"
        where = here if url is None else f"{here}, {url.rstrip('/')}/api/v1/records/{job['record']}"
    facts({"state": _state(job), **{name: job[name] for name in names}, "published at": where, "why": _why(job)})
    for event in log:
        out.print(f"{event['moment'][:19]}  {event['state']:<11} {event['text']}", markup=False, soft_wrap=True)
