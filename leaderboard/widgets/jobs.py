"""The submission service as the pages reach it: one store and one intake a process."""

from __future__ import annotations

from functools import lru_cache

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from benchmark.interfaces import FaceVeilError
from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, State
from benchmark.service.store import Store, store_location
from benchmark.service.teams import Team, TokenError
from leaderboard.widgets.allowance import page_uploads

# a mark and a word for each state: never colour alone
MARKS = {
    State.UPLOADED: "↥ arriving",
    State.QUARANTINED: "◷ to be checked",
    State.VALIDATED: "? waits for consent",
    State.QUEUED: "◔ queued",
    State.RUNNING: "▶ running",
    State.PUBLISHED: "✓ published",
    State.FAILED: "✗ failed",
    State.REFUSED: "⊘ refused",
    State.WITHDRAWN: "– withdrawn",
}


def store() -> Store:
    """The store of the environment."""
    return _store(store_location())


@lru_cache(maxsize=8)
def _store(location: str) -> Store:
    return Store(location)


def intake() -> Intake:
    """Takes submissions in, for the same store."""
    return _intake(store_location())


@lru_cache(maxsize=8)
def _intake(location: str) -> Intake:
    return Intake(_store(location))


def ask_team(key: str) -> Team | None:
    """The team whose token the reader types; None as long as there is none.  The token is never kept or put in a link."""
    token = st.text_input("Team token", type="password", key=key, autocomplete="off", width=420, placeholder="fvt_…")
    if not token:
        return None
    try:
        team = store().teams.authenticate(token.strip())
        _allow_uploads()
        return team
    except TokenError as error:
        st.error("The token was not accepted.", icon=":material/key_off:")
        st.text(str(error))
    return None


def _allow_uploads() -> None:
    """This browser session may hand files to the page."""
    context = get_script_run_ctx()
    if context is not None:
        page_uploads.allow(context.session_id)


def tell(error: FaceVeilError) -> None:
    """What went wrong, in the words of the error, as plain text: submitters' names may be in it."""
    st.error("That could not be done:", icon=":material/error:")
    st.text(str(error))


def problems(job: Job) -> None:
    """Why a job was refused or failed, each with what to do."""
    for problem in job.problems:
        st.error(f"What is wrong with it: {problem.part}", icon=":material/error:")
        st.text(f"{problem.message}\nWhat to do: {problem.remedy}")


def flags(job: Job) -> None:
    """What readers will see beside the entry."""
    if job.flags:
        st.warning("It will carry these red flags:", icon=":material/flag:")
        st.text("\n".join(f"{flag.name} ({flag.severity}): {flag.reason}" for flag in job.flags))
