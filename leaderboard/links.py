"""Permanent links: pages by name, and the parts of the address that no widget writes."""

from __future__ import annotations

from collections.abc import Sequence

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
    if list(values) == st.query_params.get_all(name):
        return
    if values:
        st.query_params[name] = list(values)
    else:
        st.query_params.pop(name, None)
