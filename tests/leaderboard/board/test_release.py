import tomllib
from email.message import Message
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from leaderboard.board import release


@pytest.fixture
def stated(monkeypatch):
    """The package's metadata with these addresses; None: it is not installed."""

    def state(addresses):
        message = Message()
        message["Version"] = "9.9"
        for address in addresses or ():
            message["Project-URL"] = address

        def metadata(name):
            if addresses is None:
                raise PackageNotFoundError(name)
            return message

        monkeypatch.setattr(release, "metadata", metadata)
        release.version.cache_clear()
        release.addresses.cache_clear()

    yield state
    release.version.cache_clear()
    release.addresses.cache_clear()


def foot() -> str:
    test = AppTest.from_string("from leaderboard.widgets import foot\nfoot.draw()", default_timeout=30).run()
    assert not test.exception
    return str(test.markdown[0].value)


def test_the_foot_links_to_what_the_package_states(stated):
    stated(
        ["Source, https://git.example.org/veil", "Documents,https://docs.example.org/", "Evil, javascript:alert(1)", "nothing"]
    )
    text = foot()
    assert text.startswith("FaceVeil 9.9, Apache-2.0 · [HTTP API](api/v1)")
    assert text.endswith("[Source](https://git.example.org/veil) · [Documents](https://docs.example.org/)")


@pytest.mark.parametrize("addresses", [[], None])
def test_where_nothing_is_stated_no_link_leaves_the_board(stated, addresses):
    stated(addresses)
    assert "http" not in foot()


def test_no_address_of_the_project_is_a_placeholder():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    for address in project.get("urls", {}).values():
        assert address.startswith("https://")
        assert not any(word in address for word in ("example", "localhost", "TODO", "OWNER"))
