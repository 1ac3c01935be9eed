"""Sign-in with Apple: a client secret that is signed, and an answer that the browser posts."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import jwt
import pytest
from conftest import Reply, Server
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from identity_provider import person
from oauth_app import CALLBACK, App, query_of, random_text, signing_in

FORM = "application/x-www-form-urlencoded"
REDIRECTS = [CALLBACK, CALLBACK + "?from=apple", "org.example.app:/cb"]


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "apple") as made:
        urls = {**made.idp.settings("apple", is_discovered=False), "oauth2.apple.userinfo_url": ""}
        with made.settings({**urls, "oauth2.apple.allowed_redirect_uris": " ".join(REDIRECTS)}):
            yield made


def test_apple_s_client_secret_is_made_of_its_key(app: App) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    app.server.secrets.note("private_key", pem.splitlines()[1])
    client = {"issuer": "", "team_id": "TEAM123456", "key_id": "KEY1234567", "private_key": pem}
    settings = {f"oauth2.apple.{name}": text for name, text in client.items()}
    apple = {"iss": "https://appleid.apple.com"}
    with app.settings(settings), app.idp.set_up(authentication="none"), app.idp.lying(claims=apple):
        shown = app.server.call("GET", "/api/admin/settings", token=app.server.admin).data
        assert shown["oauth2.apple.private_key"] == "********"
        app.signed_in(person())
    secret = app.idp.last("token").form["client_secret"]
    assert jwt.get_unverified_header(secret) == {"alg": "ES256", "kid": "KEY1234567", "typ": "JWT"}
    claims = jwt.decode(secret, key.public_key(), ["ES256"], audience="https://appleid.apple.com", issuer="TEAM123456")
    assert claims["sub"] == app.idp.client_id
    assert 0 < claims["exp"] - claims["iat"] <= 15_777_000
    app.server.secrets.note("client_secret", secret)


def post_form(app: App, form: dict[str, str], provider: str = "apple", content_type: str = FORM) -> Reply:
    path = f"/api/auth/{app.collection}/oauth2/{provider}/landing"
    return app.server.call("POST", path, urlencode(form).encode(), headers={"Content-Type": content_type})


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_apple_posts_to_the_landing_which_sends_the_browser_on(app: App, redirect: str) -> None:
    with app.settings({"app.url": "https://auth.example.org/base/"}):
        going = app.authorize(redirectUri=redirect, landing="1").data
    query = query_of(going["authorize_url"])
    landing = "https://auth.example.org/base/api/auth/users/oauth2/apple/landing"
    assert (query["redirect_uri"], query["response_mode"], query["scope"]) == (landing, "form_post", "name email")
    came = app.idp.visit(going["authorize_url"], person())
    posted = {"code": came.code, "state": came.state, "user": '{"name":{"firstName":"Ada & Co"}}'}
    for _ in range(2):  # a browser may post twice
        reply = post_form(app, posted)
        assert reply.status == 303
        assert reply.headers["Location"].startswith(redirect)
        assert query_of(reply.headers["Location"]) == {**posted, **({"from": "apple"} if "?" in redirect else {})}
        assert reply.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in reply.headers
    body = {"provider": "apple", "code": came.code, "redirectUri": redirect, "state": came.state}
    assert app.exchange(body).data["token"]
    assert app.idp.last("token").form["redirect_uri"] == landing
    spent = post_form(app, posted)
    assert (spent.status, spent.headers.get_content_type()) == (400, "text/html")
    assert "Location" not in spent.headers and came.code not in spent.body.decode()


def test_who_says_no_at_apple_is_sent_on_too(app: App) -> None:
    with app.settings({"app.url": "https://auth.example.org"}):
        state = app.authorize(landing="1").data["state"]
    for error in ("user_cancelled_authorize", "a&code=stolen\r\nSet-Cookie: x=y#z"):
        reply = post_form(app, {"error": error, "state": state})
        assert reply.status == 303
        assert query_of(reply.headers["Location"]) == {"error": error, "state": state}
        assert "Set-Cookie" not in reply.headers


def test_the_landing_sends_nobody_anywhere_without_a_state_that_was_handed_out_for_it(app: App) -> None:
    with app.settings({"app.url": "https://auth.example.org"}):
        state = app.authorize(landing="1").data["state"]
    code = random_text()
    for form, provider in (
        ({"code": code, "state": random_text()}, "apple"), ({"code": code, "state": state}, "google"),
        ({"code": code, "state": state}, "nonsense"), ({"code": code, "state": app.authorize().data["state"]}, "apple"),
    ):  # fmt: skip
        reply = post_form(app, form, provider)
        assert reply.status in (400, 422) and "Location" not in reply.headers
    assert post_form(app, {"code": code}).status == 422
    assert post_form(app, {"code": code, "state": state}, content_type="text/plain").status == 415
    assert post_form(app.into("_admins"), {"code": code, "state": state}).status == 400
    assert post_form(app.into("nobody"), {"code": code, "state": state}).status == 404
    assert app.server.call("GET", f"/api/auth/users/oauth2/apple/landing?state={state}&code={code}").status == 405
    assert post_form(app, {"code": code, "state": state}).status == 303


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", {400, 422}), (b"%", {400, 422}), (b"state=%zz&code=%", {400, 422}), (b"=&&&=", {400, 422}), (b"state=%00", {400, 422}),
        (b"state=%ff%fe&code=x", {400, 422}), (b"\xff\xfe", {400, 422}), (b"state=a&state=b&code=c", {400, 422}),
        (b"state=" + b"x" * 100_000, {400, 413, 422}), (b"state=x&" + b"a=b&" * 100_000, {400, 413, 422}), (b"x" * (2 << 20), {413}),
        (b"state=\r\nSet-Cookie:x", {400, 422}),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_form_that_makes_no_sense_is_refused(app: App, body: bytes, statuses: set[int]) -> None:
    path = "/api/auth/users/oauth2/apple/landing"
    reply = app.server.call("POST", path, body, headers={"Content-Type": FORM})
    assert reply.status in statuses and "Location" not in reply.headers


def test_without_a_list_of_addresses_there_is_no_landing_since_it_would_lead_anywhere(app: App) -> None:
    with app.settings({"app.url": "https://auth.example.org"}):
        going = app.authorize(landing="1").data
        with app.settings({"oauth2.apple.allowed_redirect_uris": ""}):
            assert app.authorize(landing="1").refused(422)["details"].keys() == {"landing"}
            assert post_form(app, {"code": random_text(), "state": going["state"]}).status == 400


def test_without_a_public_address_there_is_no_landing(app: App) -> None:
    assert app.authorize(landing="1").refused(422, code="validation_failed")["details"].keys() == {"landing"}
