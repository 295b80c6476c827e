"""The pages Submit and Queue in Streamlit's own test harness; uploads are tried in a browser (``test_browser_submit.py``)."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from benchmark.service.jobs import State
from benchmark.service.store import Store
from benchmark.submissions.problems import Problem
from leaderboard.widgets.jobs import MARKS

EVIL = "<img src=x onerror=alert(1)> [x](https://evil.example)"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("FACEVEIL_QUARANTINE", str(tmp_path / "quarantine"))
    return Store(tmp_path / "store.sqlite")


def page(name: str, **query: str) -> AppTest:
    test = AppTest.from_string(f"from leaderboard.views import {name}\n{name}.page()", default_timeout=30)
    for key, value in query.items():
        test.query_params[key] = value
    test.run()
    assert not test.exception
    return test


def text(test: AppTest) -> str:
    kinds = (test.markdown, test.caption, test.info, test.warning, test.error, test.success)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


def plain(test: AppTest) -> str:
    return "\n".join(str(e.value) for e in (*test.text, *test.code))


def refused(store: Store) -> str:
    team = store.teams.authenticate(store.teams.add("Nordlicht"))
    job = store.queue.open(team)
    problem = Problem(part="card", code="bad", message=EVIL, remedy="Mend the card.")
    store.queue.refuse(job.id, [problem])
    return job.id


def test_every_state_has_a_mark_and_a_word():
    assert set(MARKS) == set(State)
    assert len(set(MARKS.values())) == len(State)


def test_an_empty_queue_says_so(store):
    assert "Nothing was submitted yet" in text(page("queue"))


def test_the_queue_lists_jobs_and_a_link_opens_one(store):
    job = refused(store)
    test = page("queue", job=job)
    (jobs, teams) = (table.value for table in test.dataframe)
    assert jobs["state"].tolist() == ["⊘ refused"]
    assert teams["team"].tolist() == ["Nordlicht"]
    assert "What to do: Mend the card." in plain(test)
    assert EVIL in plain(test)
    assert "evil" not in text(test)


def test_states_are_filtered_by_the_link(store):
    refused(store)
    assert page("queue", state="refused").button_group(key="state").value == ["refused"]


def test_a_link_to_an_unknown_job_is_told(store):
    refused(store)
    assert "could not be done" in text(page("queue", job="0" * 16))


def test_uploading_needs_a_token_that_is_somebodys(store):
    token = store.teams.add("Nordlicht")
    test = page("submit")
    assert not test.get("file_uploader")
    test.text_input(key="submit_token").set_value("fvt_wrong").run()
    assert "was not accepted" in text(test)
    assert not test.get("file_uploader")
    test.text_input(key="submit_token").set_value(token).run()
    assert test.get("file_uploader")
    assert "submitting for team Nordlicht" in plain(test)
    assert token not in str(dict(test.query_params))
