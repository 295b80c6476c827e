"""The queue on SQLite and on PostgreSQL: states, leases, teams; each job to one worker, nothing lost, nothing doubled."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path

import pytest
from card_factory import make_card
from record_factory import make_record

from benchmark.service.database import StoreError
from benchmark.service.jobs import (
    MOVES,
    ForeignJobError,
    Job,
    Lease,
    LeaseLostError,
    LimitError,
    MoveError,
    State,
    UnknownJobError,
)
from benchmark.service.limits import Limits
from benchmark.service.store import Store, UnknownRecordError, record_id
from benchmark.service.teams import Team, TeamError, TokenError
from benchmark.submissions.card import Card
from benchmark.submissions.problems import Problem
from benchmark.submissions.report import Report

PROBLEM = Problem(part="behaviour", code="broken", message="It broke.", remedy="Mend it.")
CHECKS, EVALUATIONS = (State.QUARANTINED,), (State.QUEUED,)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").database()
    return str(tmp_path / "store.sqlite")


@pytest.fixture
def store(location: str, clock: Clock):
    store = Store(location, clock=clock, limits=Limits(lease_seconds=60, attempts=3))
    yield store
    store.close()


@pytest.fixture
def team(store: Store) -> Team:
    return store.teams.authenticate(store.teams.add("testers"))


def report(number: int = 0, card: Card | None = None) -> Report:
    """What the checks say of a good submission; other numbers, other weights."""
    return Report(path="x", submission_id=f"{number:064x}", weights_sha256=f"{number:064x}", card=card or make_card())


def validated(store: Store, team: Team, number: int = 0, card: Card | None = None) -> Job:
    job = store.queue.open(team, 10)
    store.queue.received(job.id, 10, "ab" * 32)
    lease = store.leases.claim("checker", CHECKS, job=job.id)
    assert lease is not None
    return store.leases.checked(lease, report(number, card))


def queued(store: Store, team: Team, number: int = 0) -> Job:
    return store.queue.enqueue(validated(store, team, number).id, team)


def claimed(store: Store, worker: str = "w1") -> Lease:
    lease = store.leases.claim(worker, EVALUATIONS)
    assert lease is not None
    return lease


# From upload to record


def test_a_job_goes_its_way_and_its_log_tells_it(store: Store, team: Team) -> None:
    version = store.queue.version()
    job = queued(store, team)
    assert (job.state, job.position, job.name, job.track) == (State.QUEUED, 1, "tiny", "synthetic-quick")
    lease = claimed(store)
    assert lease.job.state == State.RUNNING
    store.leases.log(lease, "utility")
    record = make_record()
    done = store.leases.publish(lease, record)
    assert (done.state, done.record, done.worker) == (State.PUBLISHED, record_id(record), "")
    assert store.record_named(record_id(record)) == record
    log = store.queue.log(job.id)
    assert [event.state for event in log] == [
        State.UPLOADED, State.QUARANTINED, State.QUARANTINED, State.VALIDATED, State.QUEUED,
        State.RUNNING, State.RUNNING, State.PUBLISHED,
    ]  # fmt: skip
    assert "taken up by w1" in log[5].text
    assert log[6].text == "utility"
    assert store.queue.log(job.id, last=1) == log[-1:]
    assert store.queue.version() == version + len(log), "one change a line"
    assert store.queue.counts()[State.PUBLISHED] == 1
    (row,) = [t for t in store.teams.all() if t.name == "testers"]
    assert (row.submissions, row.published) == (1, 1)


def test_a_refusal_keeps_its_reasons(store: Store, team: Team) -> None:
    job = store.queue.open(team)
    store.queue.received(job.id, 10, "ab" * 32)
    lease = store.leases.claim("checker", CHECKS)
    done = store.leases.checked(lease, Report(path="x", problems=(PROBLEM,)))
    assert (done.state, done.problems) == (State.REFUSED, (PROBLEM,))
    assert store.queue.job(job.id) == done
    assert "It broke." in store.queue.log(job.id)[-1].text
    (row,) = [t for t in store.teams.all() if t.name == "testers"]
    assert row.submissions == 0, "it was never queued"


def test_the_same_again_takes_the_place_of_what_waits_for_consent(store: Store, team: Team) -> None:
    """A command that was killed before it agreed left a job that nobody could go on with, and refused the same for days."""
    first = validated(store, team)
    second = validated(store, team)
    assert (store.queue.job(first.id).state, second.state) == (State.WITHDRAWN, State.VALIDATED)
    assert store.queue.log(first.id)[-1].text == f"submitted again, as job {second.id}"
    store.queue.enqueue(second.id, team)
    third = validated(store, team)
    assert third.state == State.REFUSED
    assert third.problems[0].code == "already_submitted"
    assert second.id in third.problems[0].message
    assert store.queue.job(second.id).state == State.QUEUED


def test_a_failure_is_shown_with_its_remedy_and_can_be_tried_again(store: Store, team: Team) -> None:
    first = queued(store, team, 1)
    second = queued(store, team, 2)
    failed = store.leases.fail(claimed(store), PROBLEM)
    assert (failed.id, failed.state, failed.problems) == (first.id, State.FAILED, (PROBLEM,))
    again = store.queue.retry(first.id, team)
    assert (again.state, again.problems, again.position) == (State.QUEUED, (), 2), "behind those that wait"
    with pytest.raises(MoveError, match="only a failed job"):
        store.queue.retry(second.id, team)


def test_withdrawn_jobs_stay_listed_and_their_records_are_marked(store: Store, team: Team) -> None:
    waiting = queued(store, team, 1)
    assert store.queue.withdraw(waiting.id, team).state == State.WITHDRAWN
    published = queued(store, team, 2)
    record = make_record()
    store.leases.publish(claimed(store), record)
    version = store.version()
    store.queue.withdraw(published.id, team, "licence")
    assert store.version() > version, "boards must look again"
    assert {job.id for job in store.queue.jobs([State.WITHDRAWN])} == {waiting.id, published.id}
    (shown,) = store.records()
    assert any("withdrawn by its team" in reason for reason in shown.unranked)
    assert store.index()[0].withdrawn is not None
    assert "licence" in store.queue.log(published.id)[-1].text
    with pytest.raises(MoveError, match="it is over"):
        store.queue.withdraw(waiting.id, team)


@pytest.mark.parametrize("state", [state for state in State if State.WITHDRAWN not in MOVES[state]])
def test_what_is_over_stays_over(state: State) -> None:
    assert MOVES[state] == ()


def test_an_unknown_job_is_named(store: Store) -> None:
    for call in (store.queue.job, store.queue.retry, store.queue.withdraw, store.queue.enqueue):
        with pytest.raises(UnknownJobError, match="no job 'nonsense'"):
            call("nonsense")
    with pytest.raises(UnknownRecordError):
        store.record_named("nonsense")


def test_consent_comes_before_the_queue(store: Store, team: Team) -> None:
    job = validated(store, team)
    assert job.consent is None
    assert store.leases.claim("w", EVALUATIONS) is None
    assert store.queue.enqueue(job.id, team).consent is not None
    with pytest.raises(MoveError, match="is queued and cannot become queued"):
        store.queue.enqueue(job.id, team)


def test_jobs_are_listed_running_first_then_in_the_order_of_the_queue(store: Store, team: Team) -> None:
    jobs = [queued(store, team, number) for number in range(4)]
    store.leases.fail(claimed(store), PROBLEM)
    claimed(store)
    assert [job.id for job in store.queue.jobs()] == [jobs[1].id, jobs[2].id, jobs[3].id, jobs[0].id]
    assert [job.position for job in store.queue.jobs()] == [None, 1, 2, None]
    assert [job.id for job in store.queue.jobs(limit=1, offset=1)] == [jobs[2].id]
    assert store.queue.jobs(team="TESTERS", track="synthetic-quick") == store.queue.jobs()
    assert store.queue.jobs(team="others") == []


# Leases


def test_a_job_is_one_workers_until_its_lease_ends(store: Store, team: Team, clock: Clock) -> None:
    job = queued(store, team)
    first = claimed(store)
    assert store.leases.claim("w2", EVALUATIONS) is None
    clock.now += 50
    assert store.leases.heartbeat(first)
    clock.now += 50
    assert store.leases.claim("w2", EVALUATIONS) is None, "the heartbeat renewed it"
    clock.now += 61
    second = claimed(store, "w2")
    assert (second.job.id, second.attempt) == (job.id, first.attempt + 1)
    assert not store.leases.heartbeat(first)
    for late in (lambda: store.leases.publish(first, make_record()), lambda: store.leases.fail(first, PROBLEM),
                 lambda: store.leases.log(first, "x"), lambda: store.leases.release(first, "x")):  # fmt: skip
        with pytest.raises(LeaseLostError, match="no longer held by w1"):
            late()
    assert store.records() == [], "the late worker's record is not there either"
    assert store.leases.publish(second, make_record()).state == State.PUBLISHED
    assert any("w1 was not heard from" in event.text for event in store.queue.log(job.id))


def test_a_withdrawn_job_is_no_longer_its_workers(store: Store, team: Team) -> None:
    queued(store, team)
    lease = claimed(store)
    store.queue.withdraw(lease.job.id, team)
    assert not store.leases.heartbeat(lease)
    with pytest.raises(LeaseLostError, match="is withdrawn"):
        store.leases.publish(lease, make_record())
    assert store.records() == []


def test_a_released_job_is_taken_up_by_the_next_and_counts_no_death(store: Store, team: Team) -> None:
    queued(store, team)
    for number in range(6):
        store.leases.release(claimed(store, f"w{number}"), "ended")
    assert claimed(store, "last").job.state == State.RUNNING


def test_a_job_that_ends_every_worker_is_failed(store: Store, team: Team, clock: Clock) -> None:
    bad, good = queued(store, team, 1), queued(store, team, 2)
    for number in range(3):
        assert claimed(store, f"w{number}").job.id == bad.id
        clock.now += 61
    assert claimed(store, "w3").job.id == good.id
    failed = store.queue.job(bad.id)
    assert (failed.state, failed.problems[0].code) == (State.FAILED, "workers_lost")
    assert store.queue.retry(bad.id).state == State.QUEUED


def test_checks_that_a_server_left_are_done_by_another(store: Store, team: Team, clock: Clock) -> None:
    job = store.queue.open(team)
    store.queue.received(job.id, 10, "ab" * 32)
    assert store.leases.claim("server", CHECKS, job=job.id) is not None
    assert store.leases.claim("worker") is None
    clock.now += 61
    lease = store.leases.claim("worker")
    assert lease is not None
    assert store.leases.checked(lease, report()).state == State.VALIDATED


def test_workers_take_only_their_tracks(store: Store, team: Team) -> None:
    queued(store, team)
    assert store.leases.claim("w", tracks=["faces-112"]) is None
    assert store.leases.claim("w", tracks=["synthetic-quick"]) is not None


def _work(location: str, number: int, barrier, found) -> None:
    store = Store(location)
    barrier.wait()
    taken = []
    while (lease := store.leases.claim(f"w{number}")) is not None:
        taken.append(lease.job.id)
        store.leases.publish(lease, make_record(name=lease.job.id))
    found.put(taken)
    store.close()


def take_all(store: Store, location: str, team: Team, workers: int, jobs: int) -> list[list[str]]:
    """Which jobs each of some processes took, until there were none."""
    for number in range(jobs):
        queued(store, team, number)
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=_work, args=(location, n, barrier, found)) for n in range(workers)]
    store.close()  # connections must not cross a fork
    for process in processes:
        process.start()
    taken = [found.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return taken


@pytest.mark.parametrize("location", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_workers_share_the_queue_each_job_once(location: str, request: pytest.FixtureRequest) -> None:
    """The issue's own figures, 20 workers and 200 jobs, on PostgreSQL; fewer on SQLite, where all wait for one lock."""
    workers, jobs = (20, 200) if location.startswith("postgresql") else (4, 24)
    store = Store(location, limits=Limits(uploads_per_hour=1000, open_jobs=1000))
    team = store.teams.authenticate(store.teams.add("testers"))
    taken = take_all(store, location, team, workers, jobs)
    counted = Counter(job for mine in taken for job in mine)
    assert len(counted) == jobs
    assert set(counted.values()) == {1}
    store = Store(location)
    assert store.queue.counts()[State.PUBLISHED] == jobs
    assert sum(1 for job in store.queue.jobs(limit=1000) if job.attempts == 2) == jobs  # one for the checks, one for this
    assert len(store.records()) == jobs == store.version()


# Teams


def test_a_token_is_shown_once_and_kept_as_a_hash(store: Store, location: str) -> None:
    token = store.teams.add("Team One")
    assert store.teams.authenticate(token).name == "Team One"
    assert len(token) > 40
    with store._database.session() as session:
        rows = session.connection().exec_driver_sql("SELECT * FROM teams").all()
    assert token not in str(rows)
    for wrong in ("", token[:-1], token.upper(), "' OR 1=1 --", "\ud800"):
        with pytest.raises(TokenError, match="no team's"):
            store.teams.authenticate(wrong)


def test_a_revoked_token_is_worthless_and_the_team_can_get_a_new_one(store: Store) -> None:
    old = store.teams.add("a")
    with pytest.raises(TeamError, match="exists"):
        store.teams.add("A")
    assert store.teams.revoke("a").revoked
    with pytest.raises(TokenError):
        store.teams.authenticate(old)
    with pytest.raises(TeamError, match="no team 'a' holds a token"):
        store.teams.revoke("a")
    new = store.teams.add("a")
    assert store.teams.authenticate(new).revoked is None
    assert len(store.teams.all()) == 1


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a" * 61, "\u0430dmin", "a\u202eb", "<b>x</b>", "local", "a\n", "a\x00b", "."]
)
def test_names_that_could_deceive_are_refused(store: Store, name: str) -> None:
    with pytest.raises(TeamError, match="cannot be a team's name"):
        store.teams.add(name)


def test_what_is_another_teams_cannot_be_touched(store: Store, team: Team) -> None:
    other = store.teams.authenticate(store.teams.add("others"))
    job = validated(store, team)
    for call in (store.queue.enqueue, store.queue.withdraw, store.queue.retry):
        with pytest.raises(ForeignJobError):
            call(job.id, other)


# Who may hand in what


def codes(job: Job) -> list[str]:
    return [problem.code for problem in job.problems]


def test_another_teams_weights_are_refused(store: Store, team: Team) -> None:
    other = store.teams.authenticate(store.teams.add("others"))
    theirs = make_card(team="others")
    validated(store, team, 1)
    job = validated(store, other, 1, theirs)
    assert (job.state, codes(job)) == (State.REFUSED, ["duplicate_weights"])
    assert "'testers'" in job.problems[0].message
    assert validated(store, other, 2, theirs).state == State.VALIDATED
    assert validated(store, team, 1).state == State.VALIDATED, "its own, which waited for consent"


def test_weights_of_a_record_on_the_board_are_refused(store: Store, team: Team) -> None:
    record = make_record(team="FaceVeil")
    store.add_record(record)
    job = store.queue.open(team)
    store.queue.received(job.id, 10, "ab" * 32)
    lease = store.leases.claim("checker", CHECKS)
    copy = report().model_copy(update={"weights_sha256": record.provenance.weights_sha256})
    assert codes(store.leases.checked(lease, copy)) == ["duplicate_weights"]


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"team": "others"}, "wrong_team"),
        ({"track": "nowhere"}, "unknown_track"),
        ({"protocol_version": "9"}, "protocol_version"),
    ],
)
def test_cards_that_do_not_belong_here_are_refused(store: Store, team: Team, card: dict[str, str], code: str) -> None:
    job = validated(store, team, card=make_card(**card))
    assert (job.state, codes(job)) == (State.REFUSED, [code])
    assert job.problems[0].remedy


def test_limits_hold_for_teams_and_not_for_the_evaluator(location: str) -> None:
    limits = Limits(uploads_per_hour=3, open_jobs=2, quarantine_bytes=100, upload_bytes=90)
    store = Store(location, limits=limits)
    team = store.teams.authenticate(store.teams.add("testers"))
    with pytest.raises(LimitError, match="91 bytes"):
        store.queue.open(team, 91)
    first = store.queue.open(team, 60)
    with pytest.raises(LimitError, match="as it can hold"):
        store.queue.open(team, 60)
    store.queue.open(team, 10)
    with pytest.raises(LimitError, match="2 jobs are under way"):
        store.queue.open(team, 10)
    store.queue.withdraw(first.id, team)
    store.queue.open(team, 10)
    with pytest.raises(LimitError, match="3 uploads within an hour") as caught:
        store.queue.open(team, 10)
    assert caught.value.retry_after > 0
    for _ in range(5):
        store.queue.open(store.teams.local(), 1000)
    store.close()


def test_what_nobody_goes_on_with_is_swept(location: str) -> None:
    store = Store(location, limits=Limits(upload_seconds=1e-6, consent_seconds=1e-6))
    team = store.teams.authenticate(store.teams.add("testers"))
    silent = validated(store, team)
    broken = store.queue.open(team)
    assert {job.id: job.state for job in store.queue.sweep()} == {broken.id: State.REFUSED, silent.id: State.WITHDRAWN}
    assert codes(store.queue.job(broken.id)) == ["upload_broken_off"]
    assert store.queue.sweep() == []
    store.close()


# The server itself


@pytest.mark.slow
def test_a_postgresql_server_that_falls_over_loses_nothing(postgres, clock: Clock) -> None:
    store = Store(postgres.database(), clock=clock)
    team = store.teams.authenticate(store.teams.add("testers"))
    queued(store, team)
    lease = claimed(store)
    postgres.stop()
    try:
        with pytest.raises(StoreError, match=r"cannot be reached|terminat|closed"):
            store.leases.publish(lease, make_record())
    finally:
        postgres.start()
    assert store.leases.publish(lease, make_record()).state == State.PUBLISHED
    assert len(store.records()) == 1
    store.close()
