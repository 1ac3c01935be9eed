"""Sign-in by each of the providers that are built in: their ways to ask, and the shapes in which they answer (as of their
references in 2026)."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from conftest import Reply, Server, fresh_email
from http_answers import says
from identity_provider import Claims, person
from oauth_app import CALLBACK, App, account, random_text, signing_in
from tokens import changed

Shape = Callable[[str], Any]


def number() -> int:
    return random.randrange(10**9, 10**15)


def github(email: str) -> Claims:
    avatar = "https://avatars.githubusercontent.com/u/1?v=4"
    return {
        "id": number(),
        "login": "octocat",
        "name": None,
        "email": None,
        "avatar_url": avatar,
        "two_factor_authentication": True,
    }


def github_emails(verified: bool) -> Shape:
    return lambda email: [
        {"email": fresh_email(), "primary": False, "verified": not verified, "visibility": None},
        {"email": email, "primary": True, "verified": verified, "visibility": "private"},
    ]


def bitbucket_emails(confirmed: bool) -> Shape:
    return lambda email: {"pagelen": 10, "values": [
        {"email": fresh_email(), "is_primary": False, "is_confirmed": not confirmed, "type": "email"},
        {"email": email, "is_primary": True, "is_confirmed": confirmed, "type": "email"},
    ]}  # fmt: skip


@dataclass(frozen=True)
class Provider:
    """One that signs in somebody with an email, and whether that counts as verified then."""

    name: str
    is_verified: bool
    user: Shape
    emails: Shape | None = None
    is_openid: bool = False
    authentication: Literal["post", "basic"] = "post"
    headers: dict[str, str] = field(default_factory=dict)
    """What userinfo is asked with."""
    query: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}-{'verified' if self.is_verified else 'unverified'}"


def openid(name: str, is_verified: bool, **claims: Any) -> Provider:
    return Provider(name, is_verified, lambda email: person(email=email, **claims), is_openid=True)


def discord(verified: bool) -> Shape:
    return lambda email: {
        "id": str(number()),
        "username": "nelly",
        "global_name": None,
        "verified": verified,
        "email": email,
    }


def patreon(verified: bool) -> Shape:
    return lambda email: {"data": {"type": "user", "id": str(number()), "attributes": {
        "email": email, "is_email_verified": verified, "full_name": "Corgi", "image_url": None,
    }}}  # fmt: skip


def notion(email: str) -> Any:
    owner = {"object": "user", "id": str(uuid.uuid4()), "name": "Ada", "type": "person", "person": {"email": email}}
    return {"object": "user", "id": str(uuid.uuid4()), "type": "bot", "bot": {"owner": {"type": "user", "user": owner}}}


def bitbucket(email: str) -> Any:
    return {"uuid": f"{{{uuid.uuid4()}}}", "display_name": "Ada", "links": {"avatar": {"href": "https://b.example/a"}}}


def facebook(email: str) -> Any:
    return {"id": str(number()), "name": "Ada", "email": email, "picture": {"data": {"url": "https://f.example/a"}}}


def twitch(email: str) -> Any:
    return {"data": [{"id": str(number()), "login": "ada", "display_name": "Ada", "email": email}]}


def twitter(email: str) -> Any:
    return {"data": {"id": str(number()), "name": "Ada", "username": "ada", "confirmed_email": email}}


PROVIDERS = [
    openid("google", True), openid("google", False, email_verified=False),
    openid("gitlab", True), openid("gitlab", False, email_verified=None),
    openid("linkedin", True), openid("linkedin", False, email_verified="true"),
    openid("slack", True), openid("slack", False, email_verified=False),
    openid("apple", True), openid("apple", True, email_verified="true"), openid("apple", False, email_verified="false"),
    # Whoever runs a tenant of Microsoft's can write any address into it.
    openid("microsoft", False), openid("microsoft", False, email_verified="true", xms_edov=True),
    Provider("github", True, github, github_emails(True)), Provider("github", False, github, github_emails(False)),
    Provider("bitbucket", True, bitbucket, bitbucket_emails(True)),
    Provider("bitbucket", False, bitbucket, bitbucket_emails(False)),
    Provider("facebook", False, facebook, query="fields"),
    Provider("discord", True, discord(True)), Provider("discord", False, discord(False)),
    Provider("twitch", True, twitch, headers={"Client-Id": "latchkey at the test"}),
    Provider("spotify", False, lambda email: {"id": uuid.uuid4().hex, "display_name": "Ada", "email": email, "images": []}),
    Provider("notion", False, notion, authentication="basic", headers={"Notion-Version": "2022-06-28"}),
    Provider("patreon", True, patreon(True), query="fields%5Buser%5D"), Provider("patreon", False, patreon(False)),
    Provider("twitter", True, twitter, authentication="basic", query="confirmed_email"),
]  # fmt: skip


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "apple") as made:
        settings: dict[str, str] = {}
        for name in {provider.name for provider in PROVIDERS}:
            settings |= made.idp.settings(name, is_discovered=False)
        del settings["oauth2.apple.userinfo_url"]
        with made.settings(settings):
            yield made


def sign_in(app: App, provider: Provider, user: Claims, email: str) -> Reply:
    answers = {"emails": says(provider.emails(email))} if provider.emails else {}
    ways = app.idp.set_up(is_openid=provider.is_openid, authentication=provider.authentication)
    with ways, app.idp.lying(answers=answers):
        return app.by(provider.name).exchange(app.by(provider.name).back(user, state=random_text()))


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_every_provider_tells_who_somebody_is_and_whether_the_email_is_verified(app: App, provider: Provider) -> None:
    email = fresh_email()
    user = provider.user(email)
    record = sign_in(app, provider, user, email).data["record"]
    assert (record["email"], record["email_verified"]) == (email, provider.is_verified)
    assert sign_in(app, provider, user, email).data["record"]["id"] == record["id"]
    who = account(app.server)
    reply = sign_in(app, provider, provider.user(who.email), who.email)
    if provider.is_verified:
        assert reply.data["record"]["id"] == who.id
    else:
        reply.refused(409, code="email_taken")


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_every_provider_is_asked_as_it_wants_to_be(app: App, provider: Provider) -> None:
    email = fresh_email()
    sign_in(app, provider, provider.user(email), email).accepted()
    asked = app.idp.last("token")
    assert asked.headers.get_content_type() == "application/x-www-form-urlencoded"
    assert asked.headers["Accept"] == "application/json"
    assert (asked.form["grant_type"], asked.form["redirect_uri"]) == ("authorization_code", CALLBACK)
    assert ("code_verifier" in asked.form) == (provider.name == "twitter")
    if provider.name != "apple":
        asked = app.idp.last("userinfo")
        assert provider.query in asked.query
        assert {name: asked.headers[name] for name in provider.headers} == provider.headers
        # GitHub answers nobody without it.
        assert asked.headers["User-Agent"].strip()
    # What nobody needs to know.
    assert not {"Cookie", "Referer", "Origin", "X-Forwarded-For"} & set(asked.headers)


@pytest.mark.parametrize("name", ["google", "gitlab", "microsoft", "slack", "twitch", "linkedin", "apple"])
def test_an_id_token_that_a_provider_sends_is_verified(app: App, name: str) -> None:
    user = person()
    with app.idp.set_up(is_openid=True):
        lies: list[dict[str, Any]] = [
            {"claims": {"iss": "https://evil.example"}}, {"claims": {"aud": "another"}}, {"claims": {"exp": 1}},
            {"claims": {"sub": "another"}}, {"header": {"alg": "none"}}, {"token": {"id_token": "nonsense"}},
            *({"claims": {"nonce": nonce}} for nonce in ("another", None) if name != "linkedin"),
        ]  # fmt: skip
        for lie in lies:
            if name == "apple" and lie == {"claims": {"sub": "another"}}:
                continue  # has no userinfo that would tell another
            with app.idp.lying(**lie):
                refused = app.by(name).sign_in(user).refused(400, code="invalid_id_token")
            assert name in refused["error"].lower(), lie


def test_microsoft_s_issuer_is_that_of_the_tenant(app: App) -> None:
    tenant = str(uuid.uuid4())
    issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
    with app.settings({"oauth2.microsoft.issuer": ""}), app.idp.set_up(is_openid=True):
        for claims, is_good in (
            ({"tid": tenant, "iss": issuer.replace("{tenantid}", tenant)}, True),
            ({"tid": str(uuid.uuid4()), "iss": issuer.replace("{tenantid}", tenant)}, False),
            ({"iss": issuer.replace("{tenantid}", tenant)}, False),
            ({"tid": "../evil", "iss": issuer.replace("{tenantid}", "../evil")}, False),
            ({"tid": "{tenantid}", "iss": issuer}, False),
        ):
            with app.idp.lying(claims=claims):
                reply = app.by("microsoft").sign_in(person())
            assert reply.status == (200 if is_good else 400), claims


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 403},
        {"body": []},
        {"body": {"message": "no"}},
        {"body": [{"email": 5, "primary": True, "verified": True}]},
    ],
)
def test_without_a_list_of_emails_github_vouches_for_none(app: App, answer: dict[str, Any]) -> None:
    who = account(app.server)
    user = {**github(who.email), "email": who.email}
    with (
        app.idp.set_up(is_openid=False),
        app.idp.lying(answers={"emails": says(answer.get("body", []), answer.get("status", 200))}),
    ):
        app.by("github").sign_in(user).refused(409, code="email_taken")
        record = app.by("github").signed_in({**github(""), "email": fresh_email()})["record"]
    assert record["email_verified"] is False


@pytest.mark.parametrize("id", [None, "", True, 1.5, [], {"id": 1}, "x" * 300, "a\0b"])
def test_without_a_subject_nobody_is_signed_in(app: App, id: Any) -> None:
    email = fresh_email()
    provider = Provider("discord", True, discord(True))
    user = changed(provider.user(email), {"id": id})
    reply = sign_in(app, provider, user, email)
    assert reply.refused(400)["code"] == "oauth_profile_incomplete"
    assert "Discord" in reply.json["error"]


def test_subjects_that_are_numbers_are_told_apart_whatever_their_size(app: App) -> None:
    provider = Provider("github", True, github, github_emails(True))
    ids = set()
    for id in (2**53, 2**53 + 1, 2**63 - 1):
        email = fresh_email()
        ids.add(sign_in(app, provider, {**github(email), "id": id}, email).data["record"]["id"])
    assert len(ids) == 3
