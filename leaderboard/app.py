"""The leaderboard's pages.  Started by ``faceveil leaderboard``, or by ``streamlit run leaderboard/app.py``."""

from __future__ import annotations

import streamlit as st

from leaderboard.views import about, attacks, board, compare, methods, pareto, queue, submission, submit
from leaderboard.widgets import foot

# a face, half behind a veil; drawn here, because Streamlit fetches its own icons from the web
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#56B4E9"/>
<path d="M1 16a15 15 0 0 0 30 0q-7.5-4-15 0t-15 0z" fill="#0072B2"/>
<circle cx="11" cy="11.5" r="2" fill="#12171E"/><circle cx="21" cy="11.5" r="2" fill="#12171E"/></svg>"""
VIEWS = {
    "board": board,
    "pareto": pareto,
    "compare": compare,
    "submission": submission,
    "attacks": attacks,
    "methods": methods,
    "submit": submit,
    "queue": queue,
    "about": about,
}

if __name__ != "__mp_main__":  # not in the process that checks uploads, which imports what started it
    st.set_page_config(page_title="FaceVeil leaderboard", page_icon=ICON, layout="wide")
    pages = [
        st.Page(view.page, title=name.capitalize(), url_path=name, default=name == "board") for name, view in VIEWS.items()
    ]
    st.navigation(pages, position="top").run()
    foot.draw()
