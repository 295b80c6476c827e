"""What stands in deploy/ fits the command line and the programs that read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from documents import check_command

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted(DEPLOY.glob("faceveil-*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_start_commands_that_exist(unit):
    line = re.search(r"ExecStart=(.*)", unit.read_text()).group(1)
    check_command(re.search(r"bin/faceveil ([^\"'$]*)", line).group(1).split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_units_are_valid(tmp_path):
    for path in DEPLOY.glob("faceveil-*"):
        text = path.read_text().replace("/opt/faceveil/.venv/bin/faceveil", "/bin/true").replace("User=faceveil", "User=root")
        (tmp_path / path.name).write_text(text.replace("Group=faceveil", "Group=root"))
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    found = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, timeout=60)
    ours = [line for line in found.stderr.splitlines() if "faceveil-" in line]
    assert not ours, "\n".join(ours)


def test_compose_runs_commands_that_exist():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("board", "worker"):
        check_command([str(word) for word in services[name]["command"]])
    assert services["board"]["environment"] == services["worker"]["environment"]
    assert services["board"]["volumes"] == services["worker"]["volumes"], "the worker reads what the board took in"


def test_the_image_copies_every_package():
    text = (DEPLOY / "Containerfile").read_text()
    for package in ("benchmark", "attacks", "defenses", "leaderboard"):
        assert f"COPY {package} {package}" in text
    assert re.search(r"USER (?!root)", text)
    check_command(re.findall(r'"([^"]+)"', re.search(r"^CMD (\[.*\])$", text, re.M).group(1)))


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_configuration(tmp_path):
    text = (DEPLOY / "nginx.conf.template").read_text().replace("${BOARD_HOST}", "board.example")
    text = text.replace("http://board:8501", "http://127.0.0.1:8501").replace("/etc/nginx/certificates", str(tmp_path))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=board.example",
         "-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"], check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ {text} }}")
    found = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
