"""The public photos that a defence was promised."""

from __future__ import annotations

from benchmark.interfaces import FaceVeilError, Photos, ReleaseContext, TrainerProtocol


def public_photos(given: TrainerProtocol | ReleaseContext) -> Photos:
    """The track's public photos, for a defence that ``needs_public``.

    Raises:
        FaceVeilError: none were given.
    """
    if given.public is None:
        raise FaceVeilError("this defence needs public faces: give the track's public photos.")
    return given.public
