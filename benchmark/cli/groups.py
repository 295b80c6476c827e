"""The commands in groups for ``faceveil --help``, each with an example that stands below its own help."""

from __future__ import annotations

from typing import Any

import typer

TRAIN, DATA, EVALUATE, PUBLISH, SERVE = "Train", "Data", "Evaluate", "Publish", "Serve"
GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "quickstart": "faceveil quickstart --fast",
        "list": "faceveil list defenses dp_sgd",
        "paper": "faceveil paper --data faces/ --out run/paper",
    },
    TRAIN: {
        "train": "faceveil train --track synthetic-quick --defense bn_perturbation --set rho=0.5 --out run/bn05",
        "import": "faceveil import net.onnx --track synthetic-quick --out run/net",
        "sweep": "faceveil sweep my-sweep.yaml --dry-run",
        "generator": "faceveil generator train --track synthetic-64 --out generator.safetensors",
        "unlearn": "faceveil unlearn --track synthetic-quick",
    },
    DATA: {"data": "faceveil data check faces/"},
    EVALUATE: {
        "evaluate": "faceveil evaluate run/bn05 --track synthetic-quick",
        "rank": "faceveil rank --track synthetic-quick",
        "utility": "faceveil utility run/bn05 --data faces/",
        "invert": "faceveil invert run/bn05 --track synthetic-64",
        "panel": "faceveil panel --track synthetic-64",
        "audit": "faceveil audit run/dp --canaries run/dp.canaries.json",
        "audit-model": "faceveil audit-model net.onnx --members members/ --nonmembers others/",
        "was-i-in-it": "faceveil was-i-in-it net.onnx --mine me/ --others others/",
        "attribute": "faceveil attribute run/bn05 --track synthetic-quick",
        "head-memory": "faceveil head-memory run/net --data faces/",
        "bench": "faceveil bench board --records 10000",
    },
    PUBLISH: {
        "pack": 'faceveil pack backbone.pt --track synthetic-quick --team "Our Lab" --out run/ours',
        "card": "faceveil card fields",
        "validate": "faceveil validate run/ours",
        "submit": "faceveil submit run/ours --url https://board.example --yes",
        "queue": "faceveil queue",
        "withdraw": "faceveil withdraw JOB --reason 'wrong weights'",
    },
    SERVE: {
        "leaderboard": "faceveil leaderboard --static public",
        "worker": "faceveil worker",
        "round": "faceveil round new",
        "team": 'faceveil team add "Our Lab"',
        "store": "faceveil store backup today.backup",
    },
}


def arrange(app: typer.Typer) -> None:
    """Puts every command of the root into its group, and its example below its help."""
    places = {name: (group, example) for group, commands in GROUPS.items() for name, example in commands.items()}
    everything: list[Any] = [*app.registered_commands, *app.registered_groups]
    for info in everything:
        group, example = places[str(info.name)]
        info.rich_help_panel = group
        info.epilog = f"Example:  {example}"
