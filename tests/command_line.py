"""Running the command line inside a test."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from benchmark.cli.app import app


def run(*arguments, code=0):
    """Runs a command that ends by itself with ``code``."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def document(*arguments, code=0):
    """What a command prints with ``--json``: all of stdout, and nothing else."""
    return json.loads(run(*arguments, "--json", code=code).stdout)
