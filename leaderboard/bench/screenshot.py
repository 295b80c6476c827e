"""Pictures of the board on the shipped records: ``python -m leaderboard.bench.screenshot docs`` writes those of the documents.

``python -m leaderboard.bench.screenshot page.png pareto`` writes one page; it is the end of an address, such as ``pareto`` or
``?track=synthetic-quick``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from leaderboard.bench import readers
from leaderboard.bench.process import serving
from leaderboard.board.library import RECORDS

HEIGHT = 900  # pixels, at most
DESKTOP, PHONE = 1440, 390
PHONE_AGENT = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
# file, page, width, dark
DOCUMENTS = (
    ("board.png", "", DESKTOP, False),
    ("board-dark.png", "", DESKTOP, True),
    ("board-phone.png", "", PHONE, False),
    ("pareto.png", "pareto", DESKTOP, False),
)


def take(browser: Any, port: int, out: Path, page: str = "", width: int = DESKTOP, dark: bool = False) -> None:
    """Draws a page and saves it as PNG of 256 colours, no higher than its content."""
    agent = {"user_agent": PHONE_AGENT} if width == PHONE else {}
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, **agent)
    view = context.new_page()
    view.set_default_timeout(readers.WAIT)
    view.goto(f"http://127.0.0.1:{port}/{page}")
    view.get_by_role("heading", level=1).wait_for()
    view.locator("[data-testid=stDataFrame] canvas, [data-testid=stVegaLiteChart] canvas, table.entries").first.wait_for()
    readers.settle(view)
    view.wait_for_timeout(2000)  # tables and charts are drawn last
    content = view.locator("[data-testid=stMainBlockContainer] > div").first.bounding_box()
    height = min(HEIGHT, content["y"] + content["height"] + 24)
    view.screenshot(path=out, clip={"x": 0, "y": 0, "width": width, "height": height})
    context.close()
    with Image.open(out) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.bench.screenshot", description="Take pictures of the board.")
    parser.add_argument("out", type=Path, help="a folder: every picture of the documents; a .png: one page")
    parser.add_argument("page", nargs="?", default="")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    asked = parser.parse_args()
    one = [(asked.out.name, asked.page, PHONE if asked.phone else DESKTOP, asked.dark)]
    folder, pictures = (asked.out.parent, one) if asked.out.suffix == ".png" else (asked.out, DOCUMENTS)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, readers.chromium() as browser, serving(Path(name), RECORDS) as (_, port):
        for file, page, width, dark in pictures:
            take(browser, port, folder / file, page, width, dark)


if __name__ == "__main__":
    main()
