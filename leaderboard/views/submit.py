"""Handing in a backbone: upload, checks before anything is queued, consent, and a link to see what becomes of it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS
from benchmark.service.jobs import Job, State
from benchmark.service.teams import Team
from leaderboard.widgets import jobs as job_widgets
from leaderboard.widgets import links
from leaderboard.widgets.scope import main_button

STEPS = """
1. **Get the photos to train on**: `faceveil data export --track synthetic-64 --role members --out members/`, or train with
   ours: `faceveil train --track synthetic-64 --defense bn_perturbation --set rho=0.5 --out run/bn05`.
2. **Pack** `card.json` and `model.safetensors`: `faceveil validate run/bn05` says what is missing before you upload anything.
3. **Upload** the zip here, or `faceveil submit run/bn05 --url ADDRESS`. It is checked at once, and queued only when you agree.
"""

RULES = """
- **Additional data** is allowed if it holds none of the track's people. Name it in the card (`additional_data`, or
  `initialised_from` for weights that you started from); it is shown beside the entry.
- **Weights only.** What you upload is ranked on the board *Weights only*: nobody can prove what it was trained on.
- **Verified.** Send the defence as a plug-in file with its configuration (see CONTRIBUTING.md): the evaluator trains it
  again from the track's photos, and that entry is verified. Across devices, training is not the same bit for bit: the
  re-trained entry's own numbers count, and yours should lie within its intervals.
- **No code.** safetensors and JSON only; pickles are refused. Files are checked in a separate process.
- **For good.** Card, results and red flags stay listed, even if you withdraw. Submissions per team are counted and shown.
- **Tokens** come from the evaluator (`faceveil team add NAME`). A token is asked for each time and never kept in a link.
"""


def page() -> None:
    """Draws the page."""
    st.title("Submit", anchor=False)
    st.markdown(STEPS)
    with st.expander("Rules: additional data, verified entries, what is shown", icon=":material/gavel:"):
        st.markdown(RULES)
    with st.expander("What an evaluation costs", icon=":material/timer:"):
        _costs()
    try:
        limits = job_widgets.store().queue.limits
    except FaceVeilError as error:
        job_widgets.tell(error)
        return
    st.subheader("Upload", anchor="upload")
    st.caption(
        f"At most {limits.uploads_per_hour} uploads an hour and {limits.open_jobs} under way for a team. This page takes "
        f"zips up to {st.get_option('server.maxUploadSize')} MB; larger ones go by the command line."
    )
    team = job_widgets.ask_team("submit_token")
    if team is None:
        st.info("Type your team's token to upload.", icon=":material/key:")
        return
    st.text(f"You are submitting for team {team.name}: {team.submissions} submissions so far.")
    job = _current(team)
    if job is None:
        _upload(team)
    else:
        _checked(job, team)


def _costs() -> None:
    rows = [
        {
            "track": track.name,
            "CPU minutes an entry (two cores)": track.entry_minutes,
            "GPU minutes an entry": track.budget.gpu_minutes,
            "attacks": len(track.attacks),
            "note": track.budget.note,
        }
        for track in TRACKS.values()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="auto", placeholder="–", alt="Cost of an entry by track.")


def _current(team: Team) -> Job | None:
    """The job that was uploaded on this page and not yet left."""
    name = st.session_state.get("submitted")
    if name is None:
        return None
    try:
        job = job_widgets.store().queue.job(name)
    except FaceVeilError:
        return None
    return job if job.team == team.name else None


def _upload(team: Team) -> None:
    file = st.file_uploader("Submission, a zip", type=["zip"], key="submit_file", width=620)
    if not st.button("Check it", icon=":material/fact_check:", type=main_button(), disabled=file is None) or file is None:
        return
    try:
        with st.spinner("Received. It is checked in a separate process; nothing is queued yet."):
            job = job_widgets.intake().submit(team, file, file.size)
    except FaceVeilError as error:
        job_widgets.tell(error)
        return
    st.session_state["submitted"] = job.id
    st.rerun()


def _checked(job: Job, team: Team) -> None:
    """What the checks found, and what can be done now."""
    with st.container():  # of one place: what stands below keeps its own when this grows or shrinks, and is never there twice
        st.text(f"{job_widgets.MARKS[job.state]} · {job.name or 'no name yet'} · track {job.track or 'unknown'} · job {job.id}")
        job_widgets.problems(job)
        job_widgets.flags(job)
        if job.state == State.VALIDATED:
            _consent(job, team)
        elif job.state == State.QUARANTINED:
            st.info("Its checks are still running; a worker will finish them.", icon=":material/hourglass:")
        elif job.state not in (State.REFUSED, State.WITHDRAWN):
            st.success("It is queued.", icon=":material/check_circle:")
    with st.container(horizontal=True, gap="small"):
        kind = main_button() if job.state != State.VALIDATED else "secondary"
        if st.button("Follow it", icon=":material/timeline:", type=kind):
            links.go("queue", job=job.id)
        if st.button("Submit another", icon=":material/add:"):
            del st.session_state["submitted"]
            st.rerun()


def _consent(job: Job, team: Team) -> None:
    st.success("It can be evaluated. Nothing is queued before you agree.", icon=":material/check_circle:")
    st.text(f"Licence, as your card states it: {job.licence}")
    agreed = st.checkbox(
        "I may submit these weights. Card, results and red flags may be shown for good, even if I withdraw later.",
        key=f"agreed_{job.id}",
    )
    with st.container(horizontal=True, gap="small"):
        go = st.button("Queue it", icon=":material/send:", type=main_button(), disabled=not agreed)
        stop = st.button("Withdraw it", icon=":material/delete:")
    try:
        if go and agreed:
            job_widgets.store().queue.enqueue(job.id, team)
            st.rerun()
        if stop:
            job_widgets.intake().withdraw(job.id, team)
            st.rerun()
    except FaceVeilError as error:
        job_widgets.tell(error)
