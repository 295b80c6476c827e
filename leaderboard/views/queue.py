"""What becomes of submissions: states, positions, log, and what to do where one was refused or failed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from benchmark.interfaces import FaceVeilError, content_hash
from benchmark.service.jobs import Event, Job, State
from leaderboard.board.library import load
from leaderboard.widgets import jobs as job_widgets
from leaderboard.widgets import links
from leaderboard.widgets.jobs import MARKS
from leaderboard.widgets.scope import main_button

EVERY = 3.0  # seconds between looks at a job that is under way
MOST = 200  # jobs listed
LINES = 60  # of the log


def page() -> None:
    """Draws the page."""
    st.title("Queue", anchor=False)
    try:
        counts = job_widgets.store().queue.counts()
        if not sum(counts.values()):
            st.info("Nothing was submitted yet. The page Submit takes submissions.", icon=":material/inbox:")
        else:
            _list(counts)
        _teams()
    except FaceVeilError as error:
        job_widgets.tell(error)


def _list(counts: dict[State, int]) -> None:
    """The jobs of the chosen states, and the one that is looked at."""
    present = [state for state in State if counts[state]]
    chosen = st.pills(
        "State",
        [str(state) for state in present],
        selection_mode="multi",
        key="state",
        bind="query-params",
        label_visibility="collapsed",
        wrap=True,
    )
    st.caption(" · ".join(f"{MARKS[state]}: {counts[state]:,}" for state in present))
    states = [State(state) for state in chosen] or None
    jobs = job_widgets.store().queue.jobs(states, limit=MOST)
    total = sum(counts[state] for state in states or present)
    if total > len(jobs):
        st.caption(f"The first {len(jobs):,} of {total:,} are listed.")
    ticked = _table(jobs)
    name = ticked or next(iter(st.query_params.get_all("job")), None)
    links.keep("job", [name] if name else [])
    if name is None:
        st.info("Tick a row to see its log.", icon=":material/touch_app:")
        return
    st.subheader("One submission", anchor="job")
    every = EVERY if not job_widgets.store().queue.job(name).over else None
    st.fragment(_job, run_every=every)(name)


def _table(jobs: list[Job]) -> str | None:
    rows = [
        {
            "state": MARKS[job.state],
            "place": str(job.position or ""),
            "name": job.name,
            "team": job.team,
            "track": job.track,
            "submitted": job.created[:16].replace("T", " "),
            "changed": job.updated[:16].replace("T", " "),
            "job": job.id,
        }
        for job in jobs
    ]
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="auto",
        key=f"jobs_{content_hash([job.id for job in jobs])}",
        on_select="rerun",
        selection_mode="single-row",
        alt=f"Table of {len(rows)} submissions.",
    )
    rows_ticked = event.selection.rows
    return jobs[rows_ticked[0]].id if rows_ticked else None


def _job(name: str) -> None:
    """One job as it is now; drawn again by itself while it is under way."""
    queue = job_widgets.store().queue
    job, events = queue.job(name), queue.log(name, LINES)
    place = f", place {job.position} in the queue" if job.position else ""
    st.text(f"{MARKS[job.state]}{place} · {job.name or 'no name yet'} · by {job.team} · track {job.track or 'unknown'}")
    job_widgets.problems(job)
    job_widgets.flags(job)
    st.code("\n".join(map(_line, events)) or "no log", language=None, wrap_lines=True, height=min(420, 60 + 24 * len(events)))
    if job.state == State.PUBLISHED and job.record:
        _published(job.record)
    if job.state == State.VALIDATED:
        st.info("It waits for its team to agree, on the page Submit or by `faceveil submit`.", icon=":material/how_to_reg:")
    if not job.over or job.state in (State.FAILED, State.PUBLISHED):
        _act(job)
    if job.over and st.session_state.get("under_way") == name:
        del st.session_state["under_way"]
        st.rerun()  # the list above has its last state, and the looks end
    if not job.over:
        st.session_state["under_way"] = name


def _line(event: Event) -> str:
    return f"{event.moment[:19].replace('T', ' ')}  {event.state:<11}  {event.text}"


def _published(record: str) -> None:
    """The way to its entry."""
    for key, entry in load().entries.items():
        if any(run.source.name == record for run in entry.runs):
            if st.button("Open its entry", icon=":material/open_in_new:", type=main_button()):
                links.go("submission", entry=[key])
            return


def _act(job: Job) -> None:
    """Retry and withdraw, for the team that handed it in."""
    with st.popover("For its team", icon=":material/key:"):
        team = job_widgets.ask_team(f"token_{job.id}")
        if team is None:
            return
        retry = job.state == State.FAILED and st.button("Try again", icon=":material/replay:", type=main_button())
        withdraw = st.button("Withdraw", icon=":material/delete:")
        st.caption("A withdrawn submission stays listed as withdrawn; a published entry loses its rank.")
        try:
            if retry:
                job_widgets.store().queue.retry(job.id, team)
                st.rerun()
            if withdraw:
                job_widgets.intake().withdraw(job.id, team)
                st.rerun()
        except FaceVeilError as error:
            job_widgets.tell(error)


def _teams() -> None:
    teams = job_widgets.store().teams.all()
    if teams:
        st.subheader("Teams", anchor="teams")
        st.caption("The best of many tries looks better than it is: how often each team has submitted is part of the result.")
        rows = [{"team": t.name, "submissions": t.submissions, "published": t.published} for t in teams]
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="auto", alt="Submissions of each team.")
