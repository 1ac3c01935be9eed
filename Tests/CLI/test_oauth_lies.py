"""A provider that lies in its ID tokens: nobody is signed in, and nothing is written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Server
from identity_provider import Claims, IdentityProvider, person
from oauth_app import App, signing_in
from signing_keys import Key
from tokens import decode, encode, hs256, neighbour, unsigned

NOW = int(time.time())
STRANGER = Key()
STRANGER_EC = Key("ES256")


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server) as made:
        yield made


# Claims


@pytest.mark.parametrize(
    "claims",
    [
        {}, {"aud": ["latchkey at the test"]}, {"azp": "latchkey at the test"},
        {"aud": ["another", "latchkey at the test"], "azp": "latchkey at the test"}, {"exp": NOW + 1000.5}, {"exp": NOW + 30 * 86_400},
        {"iat": NOW + 20}, {"nbf": NOW - 5}, {"acr": {"a": [1, None]}, "groups": ["x"] * 100, "auth_time": NOW, "amr": ["pwd"]},
        {"at_hash": "x" * 22}, {"sub": "x" * 255}, {"sub": "é😀 \"\\<>"},
    ],
)  # fmt: skip
def test_what_is_true_is_believed(app: App, claims: Claims) -> None:
    with app.idp.lying(claims=claims, userinfo={key: claims[key] for key in ("sub",) if key in claims}):
        app.signed_in(person())


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None}, {"iss": "https://evil.example"}, {"iss": ""}, {"iss": ["{issuer}"]}, {"iss": "{issuer}/"}, {"iss": 5},
        {"iss": "{ISSUER}"}, {"iss": "{issuer}\0"}, {"iss": "{issuer} "}, {"iss": {"{issuer}": True}},
        {"aud": None}, {"aud": "another"}, {"aud": ""}, {"aud": []}, {"aud": ["another"]}, {"aud": {"latchkey at the test": 1}},
        {"aud": "latchkey at the tes"}, {"aud": "latchkey at the test "}, {"aud": "LATCHKEY AT THE TEST"}, {"aud": [["latchkey at the test"]]},
        {"aud": True}, {"aud": "*"}, {"aud": "another latchkey at the test"},
        {"azp": "another"}, {"azp": ""}, {"azp": 5}, {"azp": ["latchkey at the test"]}, {"aud": ["latchkey at the test", "another"]},
        {"aud": ["latchkey at the test", "another"], "azp": "another"}, {"aud": ["another"], "azp": "latchkey at the test"},
        {"exp": None}, {"exp": NOW - 120}, {"exp": 0}, {"exp": -1}, {"exp": str(NOW + 300)}, {"exp": True}, {"exp": []}, {"exp": 1e300},
        {"exp": 10**30}, {"exp": (NOW + 300) * 1000}, {"exp": {}}, {"exp": -1e300},
        {"iat": NOW + 3600}, {"iat": "now"}, {"iat": 1e300}, {"iat": []}, {"nbf": NOW + 3600}, {"nbf": "now"}, {"nbf": 1e300},
        {"nonce": None}, {"nonce": "another"}, {"nonce": ""}, {"nonce": 5}, {"nonce": True}, {"nonce": ["x"]}, {"nonce": {}},
        {"sub": None}, {"sub": ""}, {"sub": 5}, {"sub": ["x"]}, {"sub": True}, {"sub": {}}, {"sub": "another than that of userinfo"},
    ],
    ids=lambda claims: json.dumps(claims)[:60],
)  # fmt: skip
def test_claims_that_are_not_about_this_sign_in_are_refused(app: App, claims: Claims) -> None:
    issuer = app.idp.issuer
    told = json.loads(json.dumps(claims).replace("{issuer}", issuer).replace("{ISSUER}", issuer.upper()))
    with app.idp.lying(claims=told):
        app.refuses()


@pytest.mark.parametrize("sub", ["another", 5, "", "{sub} ", "{SUB}", ["{sub}"], {}, True])
def test_a_userinfo_about_somebody_else_is_refused(app: App, sub: Any) -> None:
    user = person()
    told = json.loads(json.dumps(sub).replace("{sub}", user["sub"]).replace("{SUB}", user["sub"].upper()))
    with app.idp.lying(userinfo={"sub": told}):
        app.refuses(user)


@pytest.mark.parametrize("id_token", [None, 5, "", [], {}, True, "nonsense", "a.b.c", "..", "x" * 100_000])
def test_what_is_no_id_token_is_refused(app: App, id_token: Any) -> None:
    with app.idp.lying(token={"id_token": id_token}):
        app.refuses()


# Signatures and headers


def by_stranger(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
    return STRANGER.signed(header, claims)


def by_nobody(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
    return f"{unsigned(header, claims)}."


def with_hmac(key: Callable[[IdentityProvider], bytes]) -> Callable[..., str]:
    def sign(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
        return hs256(key(idp), header, claims)

    return sign


def by_ec_stranger(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
    return STRANGER_EC.signed(header, claims)


def truly(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
    return idp.keys[-1].signed(header, claims)


def then(change: Callable[[str], str]) -> Callable[..., str]:
    """Signed, and changed afterwards."""

    def sign(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
        return change(truly(idp, header, claims))

    return sign


def with_claims(raw: bytes) -> Callable[..., str]:
    def sign(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
        return idp.keys[-1].signed(header, raw)

    return sign


def with_more(end: bytes) -> Callable[..., str]:
    """The claims as they are, but for another end."""

    def sign(idp: IdentityProvider, header: Claims, claims: Claims) -> str:
        return idp.keys[-1].signed(header, json.dumps(claims).encode().removesuffix(b"}") + end)

    return sign


def with_other_claims(token: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(decode(body))
    return f"{head}.{encode(json.dumps({**claims, 'email': 'victim@example.org'}).encode())}.{signature}"


@dataclass(frozen=True)
class Forgery:
    name: str
    sign: Callable[[IdentityProvider, Claims, Claims], str] = truly
    header: Callable[[IdentityProvider], Claims] = lambda idp: {}


def header(**changes: Any) -> Callable[[IdentityProvider], Claims]:
    return lambda idp: changes


def modulus(idp: IdentityProvider) -> bytes:
    return decode(idp.keys[-1].jwk["n"])


BAD_KEY_IDS: list[Any] = ["", "../keys", "0", "x" * 5000, "' OR 1=1 --", "http://127.0.0.1/", 5, ["x"], {}]
FORGERIES = [
    Forgery("another key under its id", by_stranger),
    Forgery("another kind of key under its id", by_ec_stranger, header(alg="ES256")),
    Forgery("no signature", by_nobody), Forgery("no signature, no algorithm", by_nobody, header(alg=None)),
    *(Forgery(f"algorithm {name}", by_nobody, header(alg=name)) for name in ("none", "None", "NONE", "nOnE", "", "null")),
    *(Forgery(f"algorithm {name}, signed", truly, header(alg=name)) for name in
      ("none", None, "", "HS256", "ES256", "PS256", "RS384", "RS512", "EdDSA", "rs256", "RS256 ", "RSA1_5", ["RS256"], 5)),
    *(Forgery(f"HMAC with {what} as {name}", with_hmac(key), header(alg=name)) for name in ("HS256", "RS256") for what, key in {
        "PEM": lambda idp: idp.keys[-1].pem, "trimmed PEM": lambda idp: idp.keys[-1].pem.strip(), "modulus": modulus,
        "modulus text": lambda idp: idp.keys[-1].jwk["n"].encode(), "JWK": lambda idp: json.dumps(idp.keys[-1].jwk).encode(),
        "client secret": lambda idp: idp.client_secret.encode(), "nothing": lambda idp: b"", "key id": lambda idp: idp.keys[-1].id.encode(),
    }.items()),
    Forgery("a key that nobody knows", by_stranger, header(kid=STRANGER.id)),
    Forgery("no key id and another key", by_stranger, header(kid=None)),
    *(Forgery(f"key id {kid!r}", truly, header(kid=kid)) for kid in BAD_KEY_IDS),
    Forgery("its own key in the header", by_stranger, lambda idp: {"jwk": STRANGER.jwk}),
    Forgery("its own key in the header, without id", by_stranger, lambda idp: {"jwk": STRANGER.jwk, "kid": None}),
    Forgery("a place where its key is", by_stranger, lambda idp: {"jku": f"{idp.issuer}/evil", "kid": STRANGER.id}),
    Forgery("a certificate's place", by_stranger, lambda idp: {"x5u": f"{idp.issuer}/evil", "kid": STRANGER.id}),
    Forgery("a certificate", by_stranger, header(x5c=[encode(STRANGER.pem)])),
    Forgery("a critical extension", truly, header(crit=["exp"])),
    Forgery("an unencoded payload", truly, header(b64=False, crit=["b64"])),
    Forgery("an access token", truly, header(typ="at+jwt")), Forgery("a logout token", truly, header(typ="logout+jwt")),
    Forgery("other claims under the signature", then(with_other_claims)),
    Forgery("a cut signature", then(lambda token: token[:-2])), Forgery("a padded signature", then(lambda token: token + "==")),
    Forgery("a longer signature", then(lambda token: token + "AAAA")),
    Forgery("unused bits", then(lambda token: token[:-1] + neighbour(token[-1]))),
    Forgery("white space", then(lambda token: token + "\n")), Forgery("a fourth part", then(lambda token: token + ".e30")),
    Forgery("the signature of other contents", lambda idp, head, claims:
            f"{unsigned(head, claims)}.{truly(idp, head, {**claims, 'x': 1}).split('.')[2]}"),
    *(Forgery(f"claims {raw[:20]!r}", with_claims(raw)) for raw in
      (b"", b"[]", b"null", b"5", b'"x"', b"{", b"\xff\xfe", b"{}", b"{}{}", b"[" * 5000, b"\xef\xbb\xbf{}")),
    Forgery("a claim twice", with_more(b', "email": "victim@example.org", "email_verified": true}')),
    Forgery("a number that no double can hold", with_more(b', "more": 1e400}')),
]  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
def test_a_forged_id_token_is_refused(app: App, forgery: Forgery) -> None:
    asked = app.idp.count("/evil")
    lie = app.idp.lying(header=forgery.header(app.idp), sign=lambda *parts: forgery.sign(app.idp, *parts))
    with lie:
        app.refuses()
    assert app.idp.count("/evil") == asked
