"""Whether a set of photos looks aligned: in the mean of an aligned set the eyes are dark spots where the template has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.images import map_threads
from benchmark.interfaces import FaceVeilError, Photos

SIDE = 112  # pixels in which positions below are given
CENTRE, SPACING = (55.9, 51.6), 35.2  # of the eyes in the ArcFace template
SAMPLE, FEWEST = 256, 60  # photos averaged, and those below which a mean says nothing
TOLERANCE, SPACING_TOLERANCE = 4.0, 6.5  # pixels; aligned LFW, ORL and London faces lie within 2 and 5.2
DARKNESS = 1.2  # of both eyes together, in deviations of the mean image; 1.4 and more in aligned sets, 0.7 in centred ones


class Eyes(NamedTuple):
    """The pair of dark spots that stands out most: how dark, how far apart, and its middle (x, y), in pixels of 112."""

    darkness: float
    spacing: float
    x: float
    y: float

    @property
    def on_template(self) -> bool:
        """Whether the spots are eyes of faces aligned to the ArcFace template."""
        off = max(abs(self.x - CENTRE[0]), abs(self.y - CENTRE[1]))
        return self.darkness >= DARKNESS and off <= TOLERANCE and abs(self.spacing - SPACING) <= SPACING_TOLERANCE


def find_eyes(mean: NDArray[np.floating]) -> Eyes:
    """The eyes in the mean luminance (112, 112) of many photos."""
    dark = (gaussian_filter(mean, 9) - gaussian_filter(mean, 3)) / max(float(mean.std()), 1e-6)
    rows, columns = np.mgrid[25:85, 44:69:2]
    spacings = np.arange(20, 61, 2)[:, None, None]
    between = np.maximum(dark[rows, columns], 0)
    both = dark[rows, columns - spacings // 2] + dark[rows, columns + spacings // 2] - between
    s, y, x = np.unravel_index(int(both.argmax()), both.shape)
    return Eyes(float(both[s, y, x]), float(spacings[s, 0, 0]), float(columns[y, x]), float(rows[y, x]))


def alignment_warning(photos: Photos) -> str:
    """What to do about a set that looks unaligned; "" for one that looks aligned, or is too small to tell.

    Reads an even sample of at most 256 photos.  A warning, no proof: it looks at the mean of all photos, not at each.
    """
    if len(photos) < FEWEST:
        return ""
    sample = np.unique(np.linspace(0, len(photos) - 1, SAMPLE).round().astype(np.int64))
    found = [mean for mean in map_threads(lambda row: _luminance(photos, row), sample.tolist()) if mean is not None]
    if len(found) < FEWEST:
        return ""
    eyes = find_eyes(np.mean(found, axis=0))
    if eyes.on_template:
        return ""
    return (
        "the photos look unaligned: in their mean no eyes stand out where faces aligned to the ArcFace template have them. "
        "Recognition suffers; align them with `faceveil data align`, unless they are meant to look so"
    )


def warnings_of(photos: EncodedFaces) -> tuple[str, ...]:
    """What may be wrong with a set of photos: with their sizes or, where those are as they should be, their alignment."""
    return photos.report.warnings or tuple(filter(None, [alignment_warning(photos)]))


def _luminance(photos: Photos, row: int) -> NDArray[np.float32] | None:
    import torch.nn.functional as F

    try:
        image = photos.load([row]).float().mean(1, keepdim=True)
    except FaceVeilError:  # a photo that cannot be read is reported by whoever needs it
        return None
    resized = F.interpolate(image, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    array: NDArray[np.float32] = resized[0, 0].numpy()
    return array
