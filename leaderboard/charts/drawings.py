"""Drawings of how the benchmark works, as SVG: who plays which role, and the two stages of the founding paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

_FONT = "font-family='system-ui, sans-serif'"
_STYLE = """
.ink { fill: #0e1622 } .note, .head { fill: #4a5563 } .note { font-size: 13px }
.line { stroke: #4a5563; stroke-width: 1.6; fill: none }
.plain { fill: #f4f6f8; stroke: #c3cad3 } .blue { fill: #cfe4f3; stroke: #0072b2 }
.orange { fill: #f9ddc8; stroke: #d55e00 } .green { fill: #cdebe1; stroke: #009e73 } .pink { fill: #f3dce9; stroke: #cc79a7 }
@media (prefers-color-scheme: dark) {
.ink { fill: #e6eaf0 } .note, .head { fill: #a7b1bd } .line { stroke: #a7b1bd }
.plain { fill: #1b222c; stroke: #44505e } .blue { fill: #17384d; stroke: #56b4e9 }
.orange { fill: #4a2b17; stroke: #e69f00 } .green { fill: #12392f; stroke: #2fc49a } .pink { fill: #42293a; stroke: #cc79a7 }
}
"""
_ARROW_HEAD = (
    "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
    "<path d='M0 0 L8 4 L0 8 z' class='head'/></marker></defs>"
)


@dataclass
class Drawing:
    """An SVG that grows; colours follow the reader's light or dark scheme."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, width: int, height: int, fill: str, *lines: str) -> None:
        """A box with centred lines of text, the first in bold."""
        self.parts.append(f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='8' class='{fill}'/>")
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for row, line in enumerate(lines):
            weight = " font-weight='600'" if row == 0 else ""
            self.parts.append(
                f"<text x='{x + width / 2}' y='{top + 18 * row}' text-anchor='middle' class='ink'{weight}>{escape(line)}</text>"
            )

    def text(self, x: int, y: int, line: str, anchor: str = "start") -> None:
        self.parts.append(f"<text x='{x}' y='{y}' text-anchor='{anchor}' class='note'>{escape(line)}</text>")

    def arrow(self, x1: int, y1: int, x2: int, y2: int, dashed: bool = False) -> None:
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.parts.append(f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' class='line'{dash} marker-end='url(#head)'/>")

    def svg(self) -> str:
        size = f"viewBox='0 0 {self.width} {self.height}'"
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {_FONT} font-size='14'>\n"
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n{_ARROW_HEAD}\n"
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def roles() -> str:
    """The roles of people, and the two contrasts of one backbone's membership."""
    d = Drawing(860, 360, "Roles of people and the two contrasts")
    d.text(20, 28, "The pool: people whose membership is asked about. Backbone k trains on its own random half.")
    d.box(20, 44, 250, 70, "orange", "seen", "photos that were trained on")
    d.box(290, 44, 250, 70, "blue", "unseen", "other photos of the same people")
    d.box(560, 44, 280, 70, "green", "held out", "people who were not trained on")
    d.arrow(145, 150, 145, 118)
    d.arrow(380, 150, 380, 118)
    d.text(262, 170, "sample contrast: seen or unseen?", "middle")
    d.arrow(450, 186, 450, 118)
    d.arrow(700, 186, 700, 118)
    d.text(575, 206, "identity contrast: a person of the training set or not?", "middle")
    d.text(20, 256, "Apart from the pool, disjoint from it and from each other:")
    for column, (fill, name, use) in enumerate(
        (
            ("pink", "public", "a defender's other faces"),
            ("plain", "auxiliary", "the attacker's faces"),
            ("plain", "verification", "measure recognition"),
            ("plain", "judges", "judge rebuilt faces"),
        )
    ):
        d.box(20 + 208 * column, 272, 196, 70, fill, name, use)
    return d.svg()


def stages() -> str:
    """Stage 1 (membership from BatchNorm statistics) and stage 2 (guided inversion) of arXiv 2401.13719."""
    d = Drawing(860, 380, "Membership inference and guided inversion on a backbone without its head")
    d.text(20, 28, "Stage 1: does this photo belong to the training set?")
    d.box(20, 44, 130, 70, "blue", "photo")
    d.arrow(152, 79, 196, 79)
    d.box(200, 44, 190, 70, "plain", "backbone", "no classification layer")
    d.arrow(392, 79, 436, 79)
    d.box(440, 44, 210, 70, "plain", "distances d₁ … d_L", "to BatchNorm statistics")
    d.arrow(652, 79, 696, 79)
    d.box(700, 44, 140, 70, "orange", "member?", "one linear layer")
    d.text(20, 186, "Stage 2: faces of the training set from nothing")
    d.box(20, 202, 130, 70, "green", "latent w", "is optimised")
    d.arrow(152, 237, 196, 237)
    d.box(200, 202, 190, 70, "plain", "StyleGAN", "trained on other faces")
    d.arrow(392, 237, 436, 237)
    d.box(440, 202, 210, 70, "blue", "image", "a face like any other")
    d.arrow(652, 237, 696, 237)
    d.box(700, 202, 140, 70, "orange", "stage 1", "says: member")
    d.parts.append("<path d='M770 276 L770 326 L85 326 L85 278' class='line' stroke-dasharray='5 4' marker-end='url(#head)'/>")
    d.text(430, 346, "gradient of “member”, kept near plausible latents", "middle")
    return d.svg()


DRAWINGS = {"roles": roles, "stages": stages}
