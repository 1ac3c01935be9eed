"""The keys of a provider: found, renewed, and told from what is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Server
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_answers import says
from identity_provider import Claims, person
from oauth_app import App, random_text, signing_in, written
from signing_keys import Key
from tokens import encode, hs256

STRANGER = Key()


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server) as made:
        yield made


@contextlib.contextmanager
def with_keys(app: App, *keys: Key, also: list[Any] | None = None) -> Iterator[None]:
    """With another key set, which the server has not seen yet; it holds `also` other things."""
    jwks = {"keys": [*(also or []), *(key.jwk for key in keys)]}
    url = {"oauth2.oidc.jwks_url": f"{app.idp.issuer}/jwks?{random_text()}"}
    answers = {"jwks": says(jwks)} if also is not None else {}
    with app.settings(url), app.idp.set_up(keys=list(keys)), app.idp.lying(answers=answers):
        yield


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("changes", [{}, {"typ": None}, {"typ": "jwt"}, {"kid": None}])
def test_keys_of_both_kinds_are_known(app: App, algorithm: Any, changes: Claims) -> None:
    other = Key("ES256" if algorithm == "RS256" else "RS256")
    with with_keys(app, other, Key(algorithm)), app.idp.lying(header=changes):
        app.signed_in(person())


def test_without_a_key_id_and_with_two_keys_that_fit_nobody_guesses(app: App) -> None:
    with with_keys(app, Key(), Key()), app.idp.lying(header={"kid": None}):
        app.refuses()


def test_two_keys_of_one_id_are_none(app: App) -> None:
    first, second = Key(), Key()
    second.id = first.id
    with with_keys(app, first, second):
        app.refuses()


def test_new_keys_are_found_and_those_that_are_gone_are_forgotten(app: App) -> None:
    first, second = Key(), Key("ES256")
    with with_keys(app, first):
        app.signed_in(person())
        app.idp.keys = [second]
        app.signed_in(person())
        app.idp.keys = [second, first]
        with app.idp.lying(answers={"jwks": says({"keys": [second.jwk]})}):
            app.refuses()


@pytest.mark.parametrize("kid", [None, "1"])
def test_a_key_may_change_under_its_id_or_have_none(app: App, kid: str | None) -> None:
    """Not every provider gives its keys ids, or new ones new ids."""
    first, second = Key(), Key()
    first.id = second.id = kid or first.id
    with with_keys(app, first), app.idp.lying(header={"kid": kid}):
        app.signed_in(person())
        app.idp.keys = [second]
        app.signed_in(person())
        # And is looked for a few times only.
        asked = app.idp.count("jwks")
        with app.idp.lying(sign=STRANGER.signed):
            for _ in range(8):
                app.refuses()
        assert app.idp.count("jwks") - asked <= 1


def test_keys_are_fetched_a_few_times_whatever_tokens_come(app: App) -> None:
    with with_keys(app, Key()):
        app.signed_in(person())
        asked = app.idp.count("jwks")
        lie = app.idp.lying(sign=lambda head, claims: STRANGER.signed({**head, "kid": random_text()}, claims))
        with lie, ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: app.sign_in(person()), range(48)))
        assert {reply.refused(400)["code"] for reply in replies} == {"invalid_id_token"}
        assert app.idp.count("jwks") - asked <= 2
        app.signed_in(person())


def test_of_many_first_sign_ins_one_fetches_the_keys(app: App) -> None:
    with with_keys(app, Key()):
        backs = [app.back(person()) for _ in range(16)]
        asked = app.idp.count("jwks")
        with ThreadPoolExecutor(16) as pool:
            assert {reply.status for reply in pool.map(app.exchange, backs)} == {200}
        assert app.idp.count("jwks") - asked <= 2


def octets(key: bytes, **more: str) -> Claims:
    return {"kty": "oct", "k": encode(key), "kid": "symmetric", "alg": "HS256", "use": "sig", **more}


def test_what_is_among_the_keys_and_is_none_is_overlooked(app: App) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    odd: list[Any] = [
        None, 5, "x", [], {}, {"kty": "RSA"}, {"kty": "RSA", "n": "", "e": ""}, {"kty": "RSA", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "RSA", "n": 5, "e": []}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": encode(b"\1" * 32), "y": encode(b"\1" * 32)}, {"kty": "EC", "crv": "secp256k1"},
        {"kty": "OKP", "crv": "X25519", "x": encode(b"\1" * 32)}, octets(b"x" * 32), {"kty": "new", "kid": "x"},
        {"kty": "OKP", "crv": "Ed25519", "x": encode(private.public_key().public_bytes_raw()), "kid": 5},
        {**STRANGER.jwk, "use": "enc"}, {"kty": "RSA", "n": encode(b"\xff" * 100_000), "e": "AQAB"},
    ]  # fmt: skip
    with with_keys(app, Key(), also=odd):
        app.signed_in(person())
        with app.idp.lying(header={"alg": "HS256", "kid": "symmetric"}, sign=lambda *parts: hs256(b"x" * 32, *parts)):
            app.refuses()
        with app.idp.lying(header={"kid": STRANGER.id}, sign=STRANGER.signed):
            app.refuses()


def test_weak_keys_are_none(app: App) -> None:
    for bits in (1024, 2047):
        with with_keys(app, Key(bits=bits)):
            app.refuses()
    key = Key()
    with with_keys(app, key), app.idp.lying(answers={"jwks": says({"keys": [{**key.jwk, "e": encode(b"\1")}]})}):
        app.refuses()


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"use": "enc"},
        {"alg": "RSA-OAEP"},
        {"alg": "none"},
        {"key_ops": ["encrypt"]},
    ],
)
def test_a_key_does_what_it_is_for(app: App, changes: Claims) -> None:
    key = Key()
    with with_keys(app, key), app.idp.lying(answers={"jwks": says({"keys": [{**key.jwk, **changes}]})}):
        app.refuses()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (says({"keys": []}), "invalid_id_token"), (says({}), "invalid_id_token"), (says({"keys": {}}), "invalid_id_token"),
        (says([]), "invalid_id_token"), (says({"keys": [{}] * 5000}), "invalid_id_token"), (says(b"<html>"), "provider_failed"),
        (says({}, 500), "provider_failed"), (says({}, 404), "provider_failed"), (says(b""), "provider_failed"),
        (says(b"", 302, Location="/evil"), "provider_failed"), (says(b'{"keys":[' + b" " * (1 << 20) + b"]}"), "provider_failed"),
    ],
)  # fmt: skip
def test_without_keys_nobody_is_signed_in_and_afterwards_they_are(app: App, answer: Any, code: str) -> None:
    with with_keys(app, Key()):
        before = written(app.server)
        with app.idp.lying(answers={"jwks": answer}):
            assert app.sign_in(person()).refused(400, 502)["code"] == code
        assert written(app.server) == before and app.idp.count("/evil") == 0
    with with_keys(app, Key()):
        app.signed_in(person())
