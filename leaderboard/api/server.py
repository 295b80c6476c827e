"""Pages and API in one application, which :mod:`leaderboard.launch` serves."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

from benchmark.service.intake import Intake
from benchmark.service.store import Store, store_location
from leaderboard.api.guard import Guard
from leaderboard.api.headers import ApiMount, SecurityHeaders
from leaderboard.api.records import Listing
from leaderboard.api.routes import application
from leaderboard.api.shell import Shell
from leaderboard.board.library import RECORDS, library

PAGES = ("board", "pareto", "compare", "submission", "attacks", "methods", "submit", "queue", "about")


def middleware() -> list[Middleware]:
    """The API in front of the pages (its requests never reach Streamlit), and headers around both."""
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    prefix = f"/{base}" if base else ""
    store = Store(store_location())
    folder = Path(os.environ.get("FACEVEIL_RECORDS") or RECORDS).expanduser()
    api = application(store, Listing(store, folder, library(folder=folder)), Intake(store), prefix)
    hosts = config.get_option("server.allowedHosts") or ()
    return [
        Middleware(SecurityHeaders, api_prefix=f"{prefix}/api"),
        Middleware(Guard, prefix=f"{prefix}/api", hosts=hosts),
        Middleware(ApiMount, api=api, prefix=f"{prefix}/api"),
        Middleware(Shell, pages=PAGES, prefix=prefix),
    ]


app = st.App(str(Path(__file__).parents[1] / "app.py"), middleware=middleware())
