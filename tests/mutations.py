"""Documents as a hostile or a broken program would write them: valid ones with a few values changed, seeded."""

from __future__ import annotations

import copy
import random
from typing import Any

ODD_TEXTS = (
    *(
        "",
        " ",
        "\u202egnp.exe",
        "\ud800",
        "\x00",
        "\x1b[2J",
        "=cmd|' /C calc'!A0",
        "<img src=x onerror=alert(1)>",
        "../../etc/passwd",
    ),
    *(
        "a" * 70_000,
        "\u0130" * 80,
        "\u200b\u200b",
        "NaN",
        "1e999",
        "{0}",
        "%s%n",
        "é\n\r\t",
        "synthetic-64",
        "verified",
        "2026-13-45",
    ),
)
ODD_NUMBERS = (0, -1, 1, 2, 10**18, 2**63 - 1, -(2**63), 2**64, 10**400, 0.0, -0.0, 1e-320, 1.5, -1e308, 1e308,
               float("nan"), float("inf"), -float("inf"), True, False)  # fmt: skip


def nested(depth: int) -> Any:
    """Lists within mappings within lists."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def odd(rng: random.Random) -> Any:
    """A value that nobody foresaw."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(ODD_NUMBERS)
    if kind < 0.75:
        return rng.choice(ODD_TEXTS)
    return rng.choice(
        [None, [], {}, [None], nested(5), nested(17), nested(200), list(range(3000)), {str(n): n for n in range(600)}]
    )


def mutated(document: Any, rng: random.Random, most: int = 3) -> Any:
    """A copy with one to ``most`` values changed, taken out, doubled or put in."""
    found = copy.deepcopy(document)
    for _ in range(rng.randint(1, most)):
        _change(found, rng)
    return found


def _change(value: Any, rng: random.Random) -> None:
    """Changes one place: down a random path, ever less likely to go on."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.12:
            break
        value = inner
    kind = rng.random()
    if kind < 0.06:
        del value[key]
    elif kind < 0.12 and isinstance(value, dict):
        value[rng.choice(["extra", "ε", "", "a" * 300, "name"])] = odd(rng)
    elif kind < 0.12:
        value.append(copy.deepcopy(inner))
    elif kind < 0.2:
        value[key] = odd(rng)
    else:
        value[key] = _alike(inner, rng)


def _alike(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind, which a check of kinds alone lets pass."""
    if isinstance(value, bool) or value is None:
        return rng.choice([True, False, None])
    if isinstance(value, int | float) and abs(value) < 1e300:
        near = [-value, value * 1e6, value + 1, value / 3, 0, 1e-300, 2**62]
        return rng.choice(near if rng.random() < 0.7 else ODD_NUMBERS)
    if isinstance(value, int | float):
        return rng.choice(ODD_NUMBERS)
    if isinstance(value, str):
        return rng.choice([*ODD_TEXTS, value.upper(), value[:3], value * 3])
    return rng.choice([value * 2 if isinstance(value, list) else value, type(value)()])
