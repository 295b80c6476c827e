from __future__ import annotations

import shlex

import pytest
from command_line import run
from documents import ROOT_COMMAND, check_command

from benchmark.cli.groups import GROUPS

EXAMPLES = [(name, example) for commands in GROUPS.values() for name, example in commands.items()]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_example_is_one_that_the_command_takes(name, example):
    words = shlex.split(example)
    assert words[:2] == ["faceveil", name]
    check_command(words[1:])
    command = ROOT_COMMAND.commands[name]
    for parameter in [] if hasattr(command, "commands") else command.params:
        if parameter.required and parameter.opts[0].startswith("-"):
            assert set(parameter.opts) & set(words), f"{parameter.opts[0]} is required"


def test_help_is_in_groups_and_a_command_shows_its_example(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = run("--help").stdout
    assert all(f" {group} " in text for group in GROUPS)
    assert "faceveil rank --track synthetic-quick" in " ".join(run("rank", "--help").stdout.split())
