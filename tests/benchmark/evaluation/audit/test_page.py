import re
from html.parser import HTMLParser

import numpy as np
import pytest
from strangers import Memoriser, Stranger, pictures

import faceveil
from benchmark.evaluation.audit.curves import least_rate, strongest
from benchmark.interfaces import Contrast, FaceVeilError

PHOTOS, PERSON = pictures(40, 4, seed=2)
SEEN = (PERSON < 20) & (np.arange(len(PERSON)) % 4 < 2)


@pytest.fixture(scope="module")
def report():
    return faceveil.audit(
        Memoriser(Stranger(), PHOTOS[SEEN], PERSON[SEEN]),
        members=PHOTOS[SEEN],
        nonmembers=PHOTOS[~SEEN],
        people=(PERSON[SEEN], PERSON[~SEEN]),
        attacks=["embedding_norm", "regrown_head:gallery=weighted", "bn_distance:statistics=feature_means"],
        name="<script>alert(1)</script>",
    )


def test_the_page_stands_alone_and_escapes_what_it_is_given(report, tmp_path):
    text = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(src|href|url)\s*[=(]", text)

    class Balanced(HTMLParser):
        open_tags: list[str] = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br", "wbr", "line", "polyline"):
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            if tag not in ("line", "polyline"):
                assert self.open_tags.pop() == tag

    parser = Balanced()
    parser.feed(text)
    assert parser.open_tags == []


def test_the_page_says_everything_the_report_knows(report):
    text = report.to_html().replace("<wbr>", "")
    for part in (
        "Leak found",
        "First, without the model",
        "The most exposed photos",
        "What was not run, and why",
        "linear on pixels",
    ):
        assert part in text
    assert report.exposed[0].key in text
    for attack in report.attacks:
        assert attack.label in text


def test_a_photo_exposed_against_two_sets_says_against_which(report):
    text = report.to_html()
    against = {Contrast.SAMPLE: "20 photos of the same people", Contrast.PAPER: "40 photos of other people"}
    assert {photo.contrast for photo in report.exposed} == set(against)
    for contrast, what in against.items():
        assert text.count(f"<td>{what}</td>") == sum(photo.contrast == contrast for photo in report.exposed)


def test_curves_stay_inside_the_axes(report):
    text = report.to_html()
    numbers = [float(v) for points in re.findall(r'points="([^"]+)"', text) for pair in points.split() for v in pair.split(",")]
    assert numbers
    assert min(numbers) >= 9
    assert max(numbers) <= 560
    assert least_rate([c for _, c in strongest(report, Contrast.SAMPLE)]) == 0.01


def test_a_notebook_gets_the_same_and_a_chart(report):
    assert report._repr_html_() in report.to_html()
    chart = report.plot("sample").to_dict()
    assert chart["title"] == "trained-on photos against other photos of the same people"


def test_no_curve_is_no_chart(report):
    with pytest.raises(FaceVeilError, match="no curve to draw"):
        report.model_copy(update={"attacks": ()}).plot()


def test_an_attack_has_one_colour_on_the_whole_page(report):
    shown = [[name for name, _ in strongest(report, contrast)] for contrast in Contrast]
    assert any(first.index(name) != second.index(name) for first in shown for second in shown for name in {*first} & {*second})
    looks = {}
    for legend in re.findall(r"<ul class=legend>(.+?)</ul>", report.to_html()):
        items = re.findall(r'stroke: (var\(--line-\d\)).*?stroke-dasharray="([^"]+)".*?</svg>([^<]+)</li>', legend)
        assert len({(colour, dashes) for colour, dashes, _ in items}) == len(items)
        for colour, dashes, name in items:
            assert looks.setdefault(name, (colour, dashes)) == (colour, dashes)
    assert set(looks) == {name for names in shown for name in names}
    colours = {str(report.plot(c).to_dict()["layer"][1]["encoding"]["color"]["scale"]) for c in ("sample", "identity")}
    assert len(colours) == 1
