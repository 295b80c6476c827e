"""Random numbers as a hash of what they are for: no state, no order, so nothing depends on what else is drawn."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Stream(IntEnum):
    """What numbers are for; streams are independent of each other."""

    IDENTITY = 1
    TEXTURE = 2
    PHOTO = 3
    NOISE = 4


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), on uint64, wrapping."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: np.ndarray = x ^ (x >> np.uint64(31))
    return result


def keys(seed: int, stream: Stream, identity: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """(N,) uint64, one for each photo and stream."""
    state = np.full(len(identity), seed, np.uint64)
    for part in (np.full(len(identity), int(stream)), identity, photo):
        state = mix(state * np.uint64(0xD1342543DE82EF95) + GOLDEN + part.astype(np.uint64))
    return state


def normals(key: np.ndarray, count: int) -> np.ndarray:
    """(N, count) roughly standard normal numbers within +-3.47: the sum of four 16-bit uniforms of one hash."""
    bits = mix(key[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64))
    lanes = bits.view(np.uint16).reshape(len(key), count, 4)
    result: np.ndarray = (lanes.sum(axis=2, dtype=np.float64) * 2.0**-16 - 2.0 + 2.0**-15) * np.sqrt(3.0)
    return result


def pixel_noise(key: np.ndarray, count: int) -> np.ndarray:
    """(N, count) roughly standard normal float32: the sum of the four bytes of a 32-bit hash of key and position."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) ^ (key >> np.uint64(32)).astype(np.uint32)[:, None]
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):  # a 32-bit finaliser with small bias (C. Wellons)
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(15)
    low = (x & np.uint32(0x00FF00FF)) + ((x >> np.uint32(8)) & np.uint32(0x00FF00FF))
    total = ((low & np.uint32(0xFFFF)) + (low >> np.uint32(16))).astype(np.float32)
    return (total - np.float32(510.0)) * np.float32(1.0 / 147.8)
