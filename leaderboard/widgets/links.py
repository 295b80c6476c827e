"""Permanent links: pages by name, and the parts of the address that no widget writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st


def _nothing() -> None:
    """Stands for a page: Streamlit tells pages by their address, not by their function."""


def page(name: str) -> st.Page:
    """The page of that name, to be linked to."""
    return st.Page(_nothing, title=name.capitalize(), url_path=name, default=name == "board")


def go(name: str, **query: str | Sequence[str]) -> None:
    """Opens a page at an address."""
    st.switch_page(page(name), query_params=dict(query))


def entries() -> list[str]:
    """The keys of the entries that the address names."""
    return list(dict.fromkeys(st.query_params.get_all("entry")))


def keep(name: str, values: Sequence[str]) -> None:
    """Writes values into the address; none: takes the name out of it."""
    keep_all({name: values})


def keep_all(values: Mapping[str, Sequence[str]]) -> None:
    """:func:`keep` of several names in one step, so that the way back is one step, too."""
    changed = {name: list(found) for name, found in values.items() if list(found) != st.query_params.get_all(name)}
    if any(changed.values()):
        st.query_params.update({name: found for name, found in changed.items() if found})
    for name, found in changed.items():
        if not found:
            st.query_params.pop(name, None)


def restore(name: str, options: Sequence[str], default: str) -> None:
    """Sets the widget of that key before it is drawn: to what a link says, else to what was chosen on another page.

    Streamlit's own binding forgets a choice when the page changes.  A page opened from the bar with a choice that was made on
    another has two addresses, without the choice and with it: Streamlit pushes both, so that the way back takes two steps.
    """
    memory, asked = st.session_state.setdefault("chosen", {}), st.query_params.get(name)
    arrived = name not in st.session_state or asked != st.session_state.get(f"{name}_link")
    wanted = (asked or memory.get(name)) if arrived else st.session_state[name]
    st.session_state[name] = wanted if wanted in options else default


def remember(chosen: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """Keeps what was chosen for the other pages, and writes what is not the default into the address."""
    st.session_state.setdefault("chosen", {}).update(chosen)
    keep_all({name: [] if value == defaults[name] else [value] for name, value in chosen.items()})
    for name in chosen:
        st.session_state[f"{name}_link"] = st.query_params.get(name)
