"""The colours of every chart: those of Okabe and Ito, which readers with any colour vision can tell apart."""

from __future__ import annotations

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREY = "#8A8F98"
CATEGORIES = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, GREY)
BROWN = "#9A6324"
WINE = "#882255"
LINK = {"light": "#005A8D", "dark": "#7CC7F0"}
INK = {"light": "#1B2430", "dark": "#E6EAF0"}  # of text on a chart
PAPER = {"light": "#FFFFFF", "dark": "#12171E"}
