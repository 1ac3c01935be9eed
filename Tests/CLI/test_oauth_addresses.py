"""Where the server goes for a provider: what discovery tells, what settings say, and addresses where nobody should be sent."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Server, fresh_email
from http_answers import other_than_json
from identity_provider import REALM, IdentityProvider, person
from oauth_app import CALLBACK, App, another, random_text, signing_in, written
from processes import free_port
from smtp import change_settings

# Stands in every wrong answer, and is looked for in refusals, logs and the database.
MARK = "what-only-the-provider-has-said-4711"
METADATA = "http://169.254.169.254/latest/meta-data/"
# The limit is ten seconds; the rest is for a busy machine.
SECONDS_MAX = 16


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    server.secrets.note("answer", MARK)
    with signing_in(server) as made:
        yield made


# Where nobody should be sent


def own_addresses(port: int) -> list[str]:
    return [
        f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", f"http://localhost:{port}", f"http://[::1]:{port}",
        f"http://0.0.0.0:{port}", f"http://2130706433:{port}", f"http://0x7f000001:{port}", f"http://127.1:{port}",
        f"http://0177.0.0.1:{port}", f"http://[::ffff:127.0.0.1]:{port}", f"http://[::ffff:7f00:1]:{port}", f"http://[::]:{port}",
        f"http://127.0.0.1.:{port}", f"http://localhost.:{port}", f"http://LOCALHOST:{port}", f"https://localhost:{port}",
        f"http://x@127.0.0.1:{port}", f"http://10.0.0.1:{port}", METADATA.rstrip("/"), f"https://169.254.169.254:{port}",
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(own_addresses(0))))
def test_an_address_inside_is_not_asked_unless_it_is_allowed(app: App, number: int) -> None:
    with another(app) as other:
        address = own_addresses(other.idp.port)[number]
        change = {f"oauth2.{other.provider}.{key}_url": f"{address}/{key}" for key in ("token", "userinfo", "jwks")}
        change |= {
            f"oauth2.{other.provider}.authorization_url": f"{other.idp.issuer}/authorize",
            "outbound.allowed_hosts": "auth.example.org",
        }
        reply = app.server.call("PATCH", "/api/admin/settings", change, app.server.admin)
        if reply.status == 422:
            return
        began = time.monotonic()
        other.exchange(other.back(person())).refused(502, code="provider_failed")
        assert time.monotonic() - began < SECONDS_MAX
        assert other.idp.count() == 0


@pytest.mark.parametrize(
    ("hosts", "is_allowed"),
    [
        ("127.0.0.1", True), ("127.0.0.1:{port}", True), (" 127.0.0.1:{port} , x.example", True), ("127.0.0.1:1", False),
        ("localhost:{port}", False), ("localhost", False), ("", False), ("0.0.0.1", False), ("x.example", False),
    ],
)  # fmt: skip
def test_the_list_of_allowed_hosts_is_of_hosts_as_they_stand_in_urls(app: App, hosts: str, is_allowed: bool) -> None:
    with another(app) as other:
        with app.settings({"outbound.allowed_hosts": hosts.replace("{port}", str(other.idp.port))}):
            if is_allowed:
                other.signed_in(person())
            else:
                other.authorize().refused(502, code="provider_failed")
        assert (other.idp.count() > 0) == is_allowed


def test_a_name_that_leads_inside_is_not_asked(app: App) -> None:
    """`localhost` stands for any name whose address is private."""
    with another(app, issuer=f"http://localhost:{app.idp.port}") as other:
        asked = app.idp.count()
        other.authorize().refused(502, code="provider_failed")
        assert app.idp.count() == asked


def test_a_name_that_nobody_answers_for_keeps_nobody_else_waiting(
    launch: Callable[..., Server], tmp_path: Path
) -> None:
    """The look-up goes on for five minutes; whatever waited for it would run into the suite's limits."""
    library = tmp_path / "slow_names.so"
    compiler = shutil.which("cc") or "clang"
    source = Path(__file__).with_name("slow_names.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    server = launch(LD_PRELOAD=str(library)).admin_setup()
    with signing_in(server) as app, ThreadPoolExecutor() as pool:
        with another(app, issuer="https://a.slow.test") as slow:
            waiting = [pool.submit(slow.authorize) for _ in range(4)]
            app.signed_in(person())
            for reply in waiting:
                reply.result().refused(502, code="provider_failed")
            app.signed_in(person())
        server.restart()


# Discovery


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": None}, {"issuer": "https://evil.example"}, {"issuer": "{issuer}/"}, {"issuer": ["{issuer}"]}, {"issuer": 5},
        {"authorization_endpoint": None}, {"token_endpoint": None}, {"jwks_uri": None}, {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "/authorize"}, {"token_endpoint": "file:///etc/passwd"}, {"token_endpoint": 5}, {"jwks_uri": "ftp://x.example/"},
        {"jwks_uri": []}, {"userinfo_endpoint": "gopher://127.0.0.1/"}, {"token_endpoint": ""},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_discovery_document_that_lies_leads_nowhere(app: App, lie: dict[str, Any]) -> None:
    with (
        another(app) as other,
        other.idp.lying(discovery=json.loads(json.dumps(lie).replace("{issuer}", other.idp.issuer))),
    ):
        envelope = other.authorize().refused(502, code="provider_failed")
        assert "OpenID Connect" in envelope["error"] and other.idp.issuer not in envelope["error"]
        other.exchange({"provider": other.provider, "code": random_text(), "redirectUri": CALLBACK}).refused(502)
        assert other.idp.count() == other.idp.count("discovery")


@pytest.mark.parametrize("what", [name for name in other_than_json(MARK) if "member twice" not in name])
def test_a_discovery_document_that_is_none_leads_nowhere_and_is_asked_for_anew(app: App, what: str) -> None:
    with another(app) as other:
        with other.idp.lying(answers={"discovery": other_than_json(MARK)[what]}):
            envelope = other.authorize().refused(400, 502)
            assert MARK not in json.dumps(envelope)
        assert other.idp.count("/evil") == 0
        other.signed_in(person())


@pytest.mark.parametrize("endpoint", ["token_endpoint", "userinfo_endpoint", "jwks_uri"])
def test_a_discovery_document_can_not_send_the_server_inside(app: App, endpoint: str) -> None:
    target = free_port()
    with IdentityProvider() as inside:
        for url in (METADATA, f"http://127.0.0.1:{inside.port}/token", f"http://localhost:{target}/"):
            with another(app) as other, other.idp.lying(discovery={endpoint: url}):
                before = written(app.server)
                other.sign_in(person()).refused(502, code="provider_failed")
                assert written(app.server) == before
        assert inside.count() == 0


def test_a_discovery_document_is_fetched_once(app: App) -> None:
    with another(app) as other:
        with ThreadPoolExecutor(16) as pool:
            assert {reply.status for reply in pool.map(lambda _: other.authorize(), range(32))} == {200}
        other.signed_in(person())
        assert other.idp.count("discovery") == 1


def test_an_issuer_may_end_in_a_slash(app: App) -> None:
    """Auth0's do."""
    with another(app, issuer="{issuer}/") as other:
        issuer = f"{other.idp.issuer}/"
        with other.idp.lying(discovery={"issuer": issuer}, claims={"iss": issuer}):
            other.signed_in(person())
        with other.idp.lying(discovery={"issuer": issuer}):
            other.refuses()


def test_an_issuer_may_have_a_path_and_no_userinfo(app: App) -> None:
    with another(app, issuer="{issuer}" + REALM) as other:
        realm = other.idp.set_up(issuer=other.idp.issuer + REALM)
        with realm, other.idp.lying(discovery={"userinfo_endpoint": None}):
            other.signed_in(person())
        assert other.idp.count("userinfo") == 0


def test_another_issuer_under_the_same_name_has_other_people(app: App) -> None:
    user = person()
    with another(app) as first:
        id = first.signed_in(user)["record"]["id"]
        change_settings(app.server, {"outbound.allowed_hosts": "127.0.0.1"})
        with IdentityProvider() as idp:
            change_settings(app.server, idp.settings(first.provider))
            second = App(app.server, idp, first.provider)
            new = second.signed_in({**user, "email": fresh_email()})
            assert new["record"]["id"] != id
            # Who has the address there too is who they were.
            moved = second.signed_in(person(email=user["email"]))
            assert moved["record"]["id"] == id
            assert app.links(moved["token"]) == [first.provider] * 2
        change_settings(app.server, first.idp.settings(first.provider))
        assert first.signed_in(user)["record"]["id"] == id


def test_without_an_issuer_another_address_of_userinfo_has_other_people(app: App) -> None:
    user = person()
    plain = {"issuer": "", "authorization_url": "{issuer}/authorize", "token_url": "{issuer}/token"}
    with another(app, **plain, userinfo_url="{issuer}/userinfo") as one:
        first = one.signed_in(user)["record"]["id"]
        assert one.signed_in(user)["record"]["id"] == first
        with IdentityProvider() as idp:
            changes = {f"oauth2.{one.provider}.{key}_url": f"{idp.issuer}/{path}"
                       for key, path in (("authorization", "authorize"), ("token", "token"), ("userinfo", "userinfo"))}
            hosts = {"outbound.allowed_hosts": "127.0.0.1"}
            secret = {f"oauth2.{one.provider}.client_secret": idp.client_secret}
            with app.settings({**changes, **hosts, **secret}):
                there = App(app.server, idp, one.provider)
                assert there.signed_in(person(sub=user["sub"]))["record"]["id"] != first


def test_urls_that_are_set_go_before_those_of_the_document(app: App) -> None:
    with another(app, userinfo_url="{issuer}/userinfo?mine") as other:
        other.signed_in(person())
        assert other.idp.last("userinfo").query == "mine"


def test_no_proxy_of_the_environment_is_asked(launch: Callable[..., Server]) -> None:
    with IdentityProvider() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
        server = launch(no_proxy="", **dict.fromkeys(names, url)).admin_setup()
        with signing_in(server) as app:
            app.signed_in(person())
        assert proxy.asked == []


# Settings


def test_settings_of_a_provider_are_checked_when_they_are_set(app: App) -> None:
    for key, texts in {
        "token_url": ["javascript:alert(1)", "file:///etc/passwd", "x", "//x.example", "http://", "https://x.example/\r\nX: y", "https://x.example/#a"],
        "issuer": ["x", "javascript:x"], "allowed_redirect_uris": ["javascript:x", "https://*", "https://a.example*", "*", "x"],
        "enabled": ["perhaps"],
    }.items():  # fmt: skip
        for text in texts:
            reply = app.server.call("PATCH", "/api/admin/settings", {f"oauth2.oidc-x.{key}": text}, app.server.admin)
            assert reply.refused(422)["details"].keys() == {f"oauth2.oidc-x.{key}"}, (key, text)
    for name in ("oidc-", "oidc-X", "oidc-a b", "oidc-" + "x" * 100, "nonsense", "oidc_x"):
        change = {f"oauth2.{name}.enabled": "1"}
        assert app.server.call("PATCH", "/api/admin/settings", change, app.server.admin).status == 422, name
    change_settings(app.server, {"oauth2.oidc-x.enabled": None})
