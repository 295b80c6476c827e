"""The HTTP API through a real socket: reads with ETags, uploads streamed and checked, each refusal with its own answer."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from card_factory import make_card
from record_factory import make_record
from starlette.requests import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from benchmark.records.runs import BOARDS
from benchmark.service.client import Remote, RemoteError
from benchmark.service.intake import Intake
from benchmark.service.jobs import State
from benchmark.service.limits import Limits
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store, record_id
from benchmark.service.teams import TokenError
from benchmark.submissions.problems import Problem
from benchmark.submissions.report import Report
from leaderboard.api import routes as module
from leaderboard.api import uploads as uploads_module
from leaderboard.api.answers import FRESH_SECONDS, Answer, Answers
from leaderboard.api.errors import ApiError
from leaderboard.api.headers import ApiMount, SecurityHeaders
from leaderboard.api.records import Listing
from leaderboard.api.routes import Api, application_of
from leaderboard.api.uploads import Uploads
from leaderboard.board.library import Library

PROBLEM = Problem(part="card", code="odd", message="It is odd.", remedy="Mend it.")


def check(path: Path) -> Report:
    """Takes zips that hold a file called after a number: another number, other weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            number = int(archive.namelist()[0])
    except (zipfile.BadZipFile, ValueError):
        return Report(path="x", problems=(PROBLEM,))
    return Report(path="x", submission_id=f"{number:064x}", weights_sha256=f"{number:064x}", card=make_card())


def zipped(number: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(str(number), b"x")
    return out.getvalue()


class Site:
    """A running server and what it serves."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "store.sqlite", limits=Limits(upload_bytes=100_000, uploads_per_hour=50, open_jobs=30))
        self.quarantine = Quarantine(root / "quarantine")
        (root / "records").mkdir()
        (root / "records" / "shipped.json").write_text(make_record("shipped", track="synthetic-64").model_dump_json())
        listing = Listing(self.store, root / "records", Library(self.store, root / "records"))
        self.api = Api(self.store, listing, Intake(self.store, self.quarantine, check), "/base")
        api = application_of(self.api, "/base")

        async def pages(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"pages"})

        self.app = SecurityHeaders(ApiMount(pages, api, "/base/api"), "/base/api")
        self.token = self.store.teams.add("testers")
        self.port = 0

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/base{path}", body, names)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        if found.get("content-type") == "application/json":
            content = json.loads(content)
        return answer.status, content, found

    def upload(self, data: Any, token: str | None = None, query: str = "", kind: str = "application/zip"):
        authorization = f"Bearer {self.token if token is None else token}"
        return self.ask(f"/api/v1/submissions{query}", "POST", data, Authorization=authorization, Content_Type=kind)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        site.port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(site.app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        for _ in range(200):
            if server.started:
                break
            threading.Event().wait(0.05)
        yield site
        server.should_exit = True
        thread.join(10)
    site.store.close()


@pytest.fixture(scope="module")
def record(site: Site):
    record = make_record("in the store", track="synthetic-quick")
    site.store.add_record(record)
    return record


# Reads


def test_rounds_show_their_hash_and_their_secret_only_once_it_is_revealed(site: Site):
    secret = bytes(range(32))
    name = hashlib.sha256(secret).hexdigest()
    site.store.rounds.publish(name)
    time.sleep(FRESH_SECONDS)
    _, before, headers = site.ask("/api/v1/rounds")
    assert [row["secret_sha256"] for row in before["rounds"]] == [name]
    assert secret.hex() not in json.dumps(before)
    site.store.rounds.reveal(secret)
    time.sleep(FRESH_SECONDS)
    status, after, _ = site.ask("/api/v1/rounds", If_None_Match=headers["etag"])
    assert status == 200
    assert after["rounds"][0]["secret"] == secret.hex()


def test_records_are_those_of_the_store_and_those_shipped(site: Site, record) -> None:
    threading.Event().wait(0.3)  # a version that was read holds for a quarter of a second
    _, listed, _ = site.ask("/api/v1/records")
    assert {row["summary"]["name"] for row in listed["records"]} >= {"shipped", "in the store"}
    assert [row["id"] for row in site.ask("/api/records?track=synthetic-quick")[1]["records"]] == [record_id(record)]
    assert len(site.ask("/api/records?limit=1")[1]["records"]) == 1
    for row in listed["records"]:
        status, whole, _ = site.ask(f"/api/v1/records/{row['id']}")
        assert (status, whole["card"]["name"]) == (200, row["summary"]["name"])
        assert row["summary"]["utility"][0] == whole["headline"]["utility"]["value"]
    status, wrong, _ = site.ask("/api/v1/records/" + "0" * 64)
    assert (status, wrong["error"]["code"]) == (404, "unknown_record")


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=501", "offset=9999999999999", "limit=%C2%B2"])
def test_numbers_out_of_range_are_refused(site: Site, query: str) -> None:
    assert site.ask(f"/api/records?{query}")[0] == 400


def test_a_ranking_is_the_boards(site: Site, record) -> None:
    _, part, _ = site.ask("/api/v1/leaderboard?limit=1&offset=1")
    assert part["total"] == 2
    assert part["entries"] == site.ask("/api/v1/leaderboard")[1]["entries"][1:]
    _, ranking, _ = site.ask("/api/leaderboard?track=synthetic-quick&board=verified")
    (row,) = ranking["entries"]
    assert (row["entry"], row["rank"]) == ("in the store", 1)
    assert row["utility"] == pytest.approx(record.headline.utility.value)
    assert site.ask("/api/leaderboard?track=camera-112")[1] == {"total": 0, "offset": 0, "entries": []}


def test_what_is_known_already_is_not_sent_again(site: Site, record) -> None:
    path = f"/api/v1/records/{record_id(record)}"
    status, _, headers = site.ask(path)
    assert status == 200
    etag = headers["etag"]
    for known in (etag, f'"other", {etag}', "*", etag.removeprefix("W/")):
        status, body, again = site.ask(path, If_None_Match=known)
        assert (status, body, again["etag"]) == (304, b"", etag)
    assert site.ask(path, If_None_Match='"other"')[0] == 200
    packed = site.ask(path, Accept_Encoding="gzip")
    assert packed[2]["content-encoding"] == "gzip"
    assert packed[1] == site.ask(path)[1]


def test_an_answer_is_new_when_the_store_is(site: Site, record) -> None:
    before = site.ask("/api/records?track=faces-112")[2]["etag"]
    site.store.add_record(make_record("newer", track="faces-112"))
    threading.Event().wait(0.3)
    _, listed, headers = site.ask("/api/records?track=faces-112")
    assert headers["etag"] != before
    assert listed["total"] == 1


def test_exports_for_the_hub(site: Site, record) -> None:
    path = f"/api/v1/records/{record_id(record)}"
    _, text, headers = site.ask(f"{path}/model-index")
    assert headers["content-type"].startswith("application/yaml")
    (entry,) = yaml.safe_load(text)["model-index"]
    assert entry["name"] == "in the store"
    assert entry["results"][0]["metrics"][0]["value"] == next(iter(record.utility.values())).value
    _, text, _ = site.ask(f"{path}/eval-results?dataset=faceveil/board")
    assert {item["dataset"]["id"] for item in yaml.safe_load(text)} == {"faceveil/board"}
    assert site.ask(f"{path}/eval-results")[0] == 400


def test_the_listing_names_every_address_and_all_of_them_answer(site: Site, record) -> None:
    _, document, _ = site.ask("/api")
    assert document["openapi"].startswith("3.1")
    assert len(document["paths"]) == len({path for _, path, _ in module._TABLE})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            filled = path.format(name=record_id(record), job="0" * 16, action="retry") if "{" in path else path
            status, _, _ = site.ask(f"/api{filled}", method.upper())
            assert status != 405
            assert status < 500
    assert site.ask("/api/v1/records", "DELETE")[0] == 405
    assert site.ask("/api/nowhere")[1]["error"]["code"] == "http_404"


def test_health_and_headers(site: Site) -> None:
    status, health, headers = site.ask("/api/healthz")
    assert (status, health["status"], headers["cache-control"]) == (200, "ok", "no-store")
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    _, body, pages = site.ask("/")
    assert body == b"pages"
    for name in ("x-content-type-options", "referrer-policy", "x-frame-options", "content-security-policy"):
        assert name in headers
        assert name in pages
    assert "default-src 'self'" in pages["content-security-policy"]


def test_a_store_that_is_gone_is_told_without_its_path(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(site.store._database, "_file", tmp_path / "secret-folder" / "gone.sqlite")
        threading.Event().wait(0.3)
        status, body, _ = site.ask("/api/healthz")
        assert (status, body["status"]) == (503, "down")
        status, body, _ = site.ask("/api/teams")
        assert (status, body["error"]["code"]) == (503, "store")
        assert "secret-folder" not in json.dumps(body)
    assert site.ask("/api/healthz")[0] == 200


# Uploads


def test_a_consent_that_is_none_is_refused_before_the_upload(site: Site) -> None:
    status, body, _ = site.upload(zipped(72), query="?consent=true")
    assert (status, body["error"]) == (400, {"code": "consent", "message": "no such consent; one of yes, no."})


def test_from_upload_to_withdrawal(site: Site) -> None:
    sent = zipped(1)  # once: an archive holds the second in which it was made
    status, body, headers = site.upload(sent)
    job = body["job"]
    assert (status, job["state"], job["consent"]) == (201, "validated", None)
    assert headers["location"] == f"/base/api/v1/submissions/{job['id']}"
    assert site.quarantine.path(job["id"]).read_bytes() == sent
    remote = Remote(f"http://127.0.0.1:{site.port}/base/", site.token)
    assert remote.act(job["id"], "consent")["job"]["state"] == "queued"
    threading.Event().wait(0.3)
    seen = remote.job(job["id"])
    assert seen["job"]["position"] == 1
    assert [event["state"] for event in seen["log"]][-1] == "queued"
    assert remote.queue(state="queued")["counts"]["queued"] == 1
    assert remote.act(job["id"], "withdraw")["job"]["state"] == "withdrawn"
    assert not site.quarantine.path(job["id"]).exists()
    with pytest.raises(RemoteError, match="409"):
        remote.act(job["id"], "withdraw")
    with pytest.raises(RemoteError, match="no such action"):
        remote.act(job["id"], "explode")
    assert "testers" in json.dumps(site.ask("/api/teams")[1])


def test_consent_with_the_upload_queues_it(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(2))
    remote = Remote(f"http://127.0.0.1:{site.port}/base", site.token)
    assert remote.submit(tmp_path / "a.zip", True)["job"]["state"] == "queued"


def test_a_bad_upload_is_answered_with_every_problem_and_not_kept(site: Site, tmp_path: Path) -> None:
    status, body, _ = site.upload(b"no zip at all")
    assert (status, body["error"]["code"], body["job"]["problems"][0]["code"]) == (422, "refused", "odd")
    assert "Mend it." in body["error"]["message"]
    assert not site.quarantine.path(body["job"]["id"]).exists()
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(RemoteError, match=r"422.*It is odd"):
        Remote(f"http://127.0.0.1:{site.port}/base", site.token).submit(tmp_path / "bad.zip", True)


@pytest.mark.parametrize("token", ["", "wrong", "fvt_" + "x" * 43, "\u00ff" * 10])
def test_a_wrong_token_opens_nothing(site: Site, token: str) -> None:
    jobs = sum(site.store.queue.counts().values())
    status, body, headers = site.upload(zipped(3), token=token)
    assert (status, body["error"]["code"], headers["www-authenticate"]) == (401, "wrong_token", "Bearer")
    assert sum(site.store.queue.counts().values()) == jobs


def test_another_team_cannot_touch_a_job(site: Site) -> None:
    job = site.upload(zipped(4))[1]["job"]["id"]
    other = site.store.teams.add("kept waiting")
    status, body, _ = site.ask(f"/api/v1/submissions/{job}/withdraw", "POST", Authorization=f"Bearer {other}")
    assert (status, body["error"]["code"]) == (403, "foreign_job")


def test_sizes_are_bounded_whether_they_are_declared_or_not(site: Site) -> None:
    status, body, _ = site.upload(bytes(100_001))
    assert (status, body["error"]["code"]) == (413, "too_large")

    def pieces() -> Iterator[bytes]:  # chunked: no size declared
        for _ in range(30):
            yield bytes(10_000)

    try:
        status, body, _ = site.upload(pieces())
    except (BrokenPipeError, ConnectionResetError):
        status, body = 413, {"error": {"code": "too_large"}}  # it hung up before it had read it all
    assert (status, body["error"]["code"]) == (413, "too_large")
    refused = site.store.queue.jobs([State.REFUSED])
    assert any(job.problems[0].code == "too_large" for job in refused)
    assert site.upload(b"x", kind="text/html")[0] == 415


def test_an_upload_that_hangs_up_leaves_a_job_that_says_so(site: Site) -> None:
    before = {job.id for job in site.store.queue.jobs(limit=1000)}
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        head = (
            f"POST /base/api/v1/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token}\r\n"
            "Content-Type: application/zip\r\nContent-Length: 5000\r\n\r\n"
        )
        connection.sendall(head.encode() + b"PK\x03\x04")
        for _ in range(100):
            if {job.id for job in site.store.queue.jobs(limit=1000)} - before:
                break
            threading.Event().wait(0.05)
    for _ in range(100):
        (job,) = [job for job in site.store.queue.jobs(limit=1000) if job.id not in before]
        if job.state != State.UPLOADED:
            break
        threading.Event().wait(0.05)
    assert (job.state, job.problems[0].code) == (State.REFUSED, "upload_broken_off")
    assert not [file for file in site.quarantine.folder.iterdir() if file.suffix == ".part"]


def test_limits_are_told_with_when_to_come_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.store.queue, "limits", Limits(uploads_per_hour=1))
    status, body, headers = site.upload(zipped(9))
    assert (status, body["error"]["code"]) == (429, "limit")
    assert int(headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x", "no address"),
        ("http://[::1", "no address"),
        ("https://host:port", "no address"),
        ("https://host:99999/x", "no address"),
        ("https://a..b", "no address"),
        ("http://example.org", "not HTTPS"),
        ("http://127.0.0.1:1", "cannot be reached"),
        ("http://127.0.0.1:1/Zürich am See", "cannot be reached"),
    ],
)
def test_addresses_that_will_not_do(url: str, said: str) -> None:
    with pytest.raises(RemoteError, match=said):
        Remote(url, "secret").queue()


def test_a_token_is_taken_without_the_end_of_its_line(site: Site) -> None:
    address = f"http://127.0.0.1:{site.port}/base"
    with pytest.raises(RemoteError, match="no job"):
        Remote(address, f" {site.token}\n").act("0" * 16, "withdraw")
    for wrong in ("Жук", "a\nb", "a\0b"):
        with pytest.raises(RemoteError, match="copy it again"):
            Remote(address, wrong)


async def _authorised(site: Site, peer: str, forwarded: str, trusted: str) -> bool:
    """Whether somebody is asked for a token still, after a score of wrong ones: behind uvicorn's own reading of proxies."""
    uploads, told = Uploads(site.store, Intake(site.store, site.quarantine, check)), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await uploads._team(Request(scope, receive))
        except ApiError as error:
            told.append(error.status)
        except TokenError:
            told.append(401)

    behind = ProxyHeadersMiddleware(app, trusted)
    for number in range(21):
        headers = [(b"x-forwarded-for", forwarded.format(number).encode())]
        await behind({"type": "http", "client": (peer, 1), "headers": headers}, None, None)
    return told[-1] == 401


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "asked_still"),
    [
        ("10.0.0.2", "203.0.113.{}", "10.0.0.2", True),  # other readers of a trusted proxy
        ("10.0.0.2", "203.0.113.7", "10.0.0.0/24", False),  # one reader of it
        ("10.0.0.2", "203.0.113.{}, 203.0.113.9", "10.0.0.2", False),  # one that forges more addresses in front
        ("198.51.100.5", "203.0.113.{}", "10.0.0.2", False),  # no proxy of ours: what it says is not believed
    ],
)
def test_wrong_tokens_count_by_who_asks_as_far_as_a_proxy_is_trusted(
    site: Site, peer: str, forwarded: str, trusted: str, asked_still: bool
) -> None:
    assert asyncio.run(_authorised(site, peer, forwarded, trusted)) is asked_still


def test_guessing_tokens_is_slowed(site: Site) -> None:
    """Last: it shuts this machine out for a minute."""
    statuses = [site.upload(b"x", token=f"guess{number}")[0] for number in range(25)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_answers_are_kept_up_to_a_number_of_bytes(site: Site) -> None:
    """Each unique query string cost 20 to 36 ms, and was kept, however long it was."""
    answers = Answers(lambda: 0, fresh_seconds=1e6, most_bytes=10_000)
    for number in range(100):
        answers.get(number, lambda: Answer.of({"x": "y" * 900}))
    kept = sum(answer.size for answer in answers._kept.values())
    assert 5_000 < kept == answers._bytes <= 10_000


def test_queries_that_ask_the_same_share_one_answer(site: Site, record) -> None:
    _, first, headers = site.ask("/api/v1/leaderboard?track=synthetic-64")
    kept = len(site.api._records._kept)
    for number in range(20):
        _, again, same = site.ask(f"/api/v1/leaderboard?track=synthetic-64&random={number}")
        assert (again, same["etag"]) == (first, headers["etag"])
    assert len(site.api._records._kept) == kept


@pytest.mark.parametrize(
    ("query", "code", "allowed"),
    [
        ("leaderboard?board=best", "board", "verified, weights, local"),
        ("leaderboard?board=", "board", "verified, weights, local"),
        ("records?board=nonsense", "board", "verified, weights, local"),
        ("queue?state=nonsense", "state", "published"),
        ("queue?team=nonsense", "team", "testers"),
        *[(f"{name}?track=nonsense", "track", "synthetic-64") for name in ("leaderboard", "records", "queue")],
        ("records?track=", "track", "synthetic-64"),
        ("records?track=synthetic-64%5Bepochs%3D%C2%B2%5D", "track", "synthetic-64"),  # epochs=²
        ("records?track=synthetic-64%5Bnonsense%3D2%5D", "track", "synthetic-64"),
        (f"records?track={'x' * 300}", "track", "at most 200 characters"),
    ],
)
def test_a_query_that_can_mean_nothing_is_refused_and_told_what_can(site: Site, query: str, code: str, allowed: str) -> None:
    status, body, headers = site.ask(f"/api/v1/{query}")
    assert (status, body["error"]["code"]) == (400, code)
    assert allowed in body["error"]["message"]
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("track", ["camera-112", "synthetic-64%5Bepochs%3D2%5D", "synthetic-64@0123456789ab", "of-a-record"])
def test_a_track_without_records_is_an_empty_list(site: Site, record, track: str) -> None:
    for address, name in (("records", "records"), ("leaderboard", "entries"), ("queue", "jobs")):
        if track != "of-a-record":
            status, body, _ = site.ask(f"/api/v1/{address}?track={track}")
            assert (status, body[name]) == (200, []), (address, body)
    site.store.add_record(make_record("of a plug-in's track", track="of-a-record"))
    time.sleep(2 * FRESH_SECONDS)
    assert site.ask("/api/v1/records?track=of-a-record")[1]["total"] == 1


def test_records_of_a_board(site: Site, record) -> None:
    every = site.ask("/api/v1/records?limit=500")[1]["records"]
    boards = {board: site.ask(f"/api/v1/records?limit=500&board={board}")[1]["records"] for board in BOARDS}
    assert boards == {board: [row for row in every if row["board"] == board] for board in BOARDS}
    assert boards["verified"]


def test_the_document_names_every_parameter_of_a_query(site: Site) -> None:
    paths = site.ask("/api")[1]["paths"]
    named = {p["name"]: p["schema"] for p in paths["/v1/records"]["get"]["parameters"]}
    assert set(named) == {"track", "board", "limit", "offset"}
    assert named["board"]["enum"] == list(BOARDS)
    assert "400" in paths["/v1/records"]["get"]["responses"]
    assert {p["name"] for p in paths["/v1/queue"]["get"]["parameters"]} == {"state", "team", "track", "limit", "offset"}


def test_scripts_on_other_pages_may_ask_and_see_the_etag(site: Site) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization, content-type"}
    status, _, answered = site.ask("/api/v1/submissions", "OPTIONS", Origin="https://else.example", **asked)
    assert status == 200
    assert "POST" in answered["access-control-allow-methods"]
    assert "authorization" in answered["access-control-allow-headers"].lower()
    answered = site.ask("/api/v1/records", Origin="https://else.example")[2]
    assert answered["access-control-allow-origin"] == "*"
    assert "ETag" in answered["access-control-expose-headers"]


def test_the_document_names_addresses_that_exist_below_a_base_path(site: Site) -> None:
    _, document, _ = site.ask("/api")
    assert document["servers"] == [{"url": "/base/api"}]


def test_slow_uploads_of_one_team_leave_room_for_others(site: Site) -> None:
    site.api.uploads._wrong.clear()  # of the tests before
    other = site.store.teams.add("others")
    held = []
    head = "POST /base/api/v1/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n"
    head += "Content-Type: application/zip\r\nContent-Length: 1000\r\n\r\nPK"
    for _ in range(2):
        connection = socket.create_connection(("127.0.0.1", site.port))
        connection.sendall(head.format(site.token).encode())
        held.append(connection)
    threading.Event().wait(0.5)
    status, answer, _ = site.upload(zipped(71))
    assert (status, answer["error"]["code"]) == (429, "busy_team")
    status, answer, _ = site.upload(zipped(71), other)
    assert status in (201, 422)
    for connection in held:
        connection.close()
    threading.Event().wait(0.5)
    assert site.upload(zipped(72))[0] == 201


def test_a_trickle_is_ended_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.api.uploads._wrong.clear()  # of the tests before
    monkeypatch.setattr(uploads_module, "GRACE_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(
            f"POST /base/api/v1/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token}\r\n"
            "Content-Type: application/zip\r\nContent-Length: 90000\r\n\r\n".encode()
        )
        for _ in range(20):
            connection.sendall(b"x")
            threading.Event().wait(0.1)
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                assert connection.recv(15).startswith(b"HTTP/1.1 408")
                return
    raise AssertionError("it was still read")


def test_checks_that_take_long_go_on_after_the_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.api.uploads._wrong.clear()  # of the tests before
    monkeypatch.setattr(uploads_module, "CHECK_SECONDS", 0.1)
    checked = site.api.uploads.intake._check
    monkeypatch.setattr(site.api.uploads.intake, "_check", lambda path: (time.sleep(0.6), checked(path))[1])
    status, answer, _ = site.upload(zipped(73))
    assert (status, answer["job"]["state"]) == (202, "quarantined")
    for _ in range(50):
        time.sleep(0.1)
        if site.store.queue.job(answer["job"]["id"]).state == State.VALIDATED:
            return
    raise AssertionError("its checks never ended")
