from __future__ import annotations

from xml.etree import ElementTree

import pytest

from leaderboard.charts.drawings import DRAWINGS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_one_svg_that_keeps_its_text_inside(name):
    root = ElementTree.fromstring(DRAWINGS[name]())
    width, height = map(int, root.attrib["viewBox"].split()[2:])
    assert root.find(f"{SVG}title").text
    for text in root.iter(f"{SVG}text"):
        half = len(text.text) * 7.2 / 2  # 14 px letters are about 7 px wide
        left = float(text.attrib["x"]) - (half if text.attrib["text-anchor"] == "middle" else 0)
        assert 0 <= left <= left + 2 * half <= width + 40
        assert 0 < float(text.attrib["y"]) < height


@pytest.mark.parametrize("name", DRAWINGS)
def test_texts_fit_their_boxes(name):
    root = ElementTree.fromstring(DRAWINGS[name]())
    boxes = [tuple(float(r.attrib[k]) for k in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect")]
    for text in root.iter(f"{SVG}text"):
        if text.attrib["class"] != "ink":
            continue
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        box = next(b for b in boxes if b[0] <= x <= b[0] + b[2] and b[1] <= y <= b[1] + b[3])
        assert len(text.text) * 7 <= box[2] + 8, text.text
