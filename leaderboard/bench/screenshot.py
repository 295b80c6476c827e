"""Pictures of the pages on the shipped records: ``python -m leaderboard.bench.screenshot docs/board.png [PAGE] [--dark]``.

``PAGE`` is the end of an address, such as ``pareto`` or ``?track=synthetic-quick``; default: the board.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from leaderboard.bench import readers
from leaderboard.bench.process import serving
from leaderboard.board.library import RECORDS

WIDTH, HEIGHT = 1300, 900  # pixels


def take(out: Path, page: str = "", dark: bool = False) -> None:
    """Draws a page and saves it as PNG, no higher than its content.

    Raises:
        FaceVeilError: there is no browser here, or the board did not start.
    """
    with tempfile.TemporaryDirectory() as name, readers.chromium() as browser, serving(Path(name), RECORDS) as (_, port):
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark" if dark else "light")
        view.set_default_timeout(readers.WAIT)
        view.goto(f"http://127.0.0.1:{port}/{page}")
        view.get_by_role("heading", level=1).wait_for()
        view.wait_for_function("!document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')")
        view.wait_for_timeout(2000)  # tables and charts are drawn last
        content = view.locator("[data-testid=stMainBlockContainer] > div").first.bounding_box()
        view.screenshot(
            path=out, clip={"x": 0, "y": 0, "width": WIDTH, "height": min(HEIGHT, content["y"] + content["height"] + 24)}
        )


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.bench.screenshot", description="Take a picture of a page.")
    parser.add_argument("out", type=Path)
    parser.add_argument("page", nargs="?", default="")
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    take(arguments.out, arguments.page, arguments.dark)


if __name__ == "__main__":
    main()
