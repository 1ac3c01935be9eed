"""Forged and altered tokens: whatever is not the very text this server minted is a 401."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import tokens
from conftest import Server
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey


@pytest.fixture(scope="module")
def jwks(server: Server) -> dict[str, Any]:
    return server.call("GET", "/.well-known/jwks.json").json


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """A live user token; no test here ends its session."""
    return server.new_user()["token"]


@pytest.fixture(scope="module")
def hs256(launch_for_module: Callable[..., Server]) -> Server:
    """A server that signs with the bytes of its secret file, which the forger of these tests has read."""
    return launch_for_module(LATCHKEY_JWT_ALGORITHM="HS256")


@pytest.fixture(scope="module")
def secret(hs256: Server) -> bytes:
    return (hs256.data_dir / ".secret").read_text().strip().encode()


@pytest.fixture(scope="module")
def hs256_token(hs256: Server) -> str:
    return hs256.new_user()["token"]


# Texts that are not quite the token


def mutations(token: str) -> dict[str, str]:
    """Texts that are almost `token`."""
    head, payload, signature = token.split(".")
    middle = len(payload) // 2
    before, character, after = payload[:middle], payload[middle], payload[middle + 1 :]
    almost = {
        "a changed header": f"{head[:10]}{tokens.neighbour(head[10])}{head[11:]}.{payload}.{signature}",
        "a changed payload": f"{head}.{before}{tokens.neighbour(character)}{after}.{signature}",
        "a changed signature": f"{head}.{payload}.{tokens.neighbour(signature[0])}{signature[1:]}",
        "another last character of the header": f"{head[:-1]}{tokens.neighbour(head[-1])}.{payload}.{signature}",
        "another last character of the payload": f"{head}.{payload[:-1]}{tokens.neighbour(payload[-1])}.{signature}",
        "another last character of the signature": token[:-1] + tokens.neighbour(token[-1]),
        "padding": token + "=" * (-len(signature) % 4),
        "a truncated signature": token[:-4],
        "no signature": f"{head}.{payload}.",
        "no signature and no dot": f"{head}.{payload}",
        "an empty payload": f"{head}..{signature}",
        "an extra segment": f"{token}.{signature}",
        "an extra empty segment": f"{token}.",
        "swapped case": token.swapcase(),
        "the standard base64 alphabet": f"{head}.{payload}.{signature[:-1]}+",
        "an escaped line break inside": f"{head}.{before}%0a{character}{after}.{signature}",
        "the token twice": f"{token} {token}",
        "only dots": "..",
        "nothing": "",
        "not ASCII": f"{token}\u00e9".encode().decode("latin-1"),
    }
    assert all(text != token for text in almost.values())
    return almost


def test_no_text_but_the_token_itself_is_accepted(server: Server, token: str) -> None:
    assert server.sees(token)
    for name, text in mutations(token).items():
        assert server.me(text).status == 401, name
    server.me(token[:-1]).refused(401)
    assert server.sees(token)


def test_a_token_in_the_query_or_under_another_scheme_is_no_credential(server: Server, token: str) -> None:
    for path in (f"/api/auth/me?token={token}", f"/api/auth/me?access_token={token}"):
        server.call("GET", path).refused(401)
    for value in (token, f"Token {token}", f"Bearer{token}", f"Digest {token}", "Bearer", "Basic !!!", "Basic Og=="):
        server.call("GET", "/api/auth/me", headers={"Authorization": value}).refused(401)
    assert server.call("GET", "/api/auth/me", headers={"Authorization": f"bearer {token}"}).status == 200


# Tokens signed by nobody, or by somebody else


def test_alg_none_is_refused(server: Server, token: str) -> None:
    for algorithm in ("none", "None", "NONE", "nOnE", "", None):
        forged = tokens.unsigned({**tokens.header(token), "alg": algorithm}, tokens.claims(token))
        for signature in ("", token.split(".")[2]):
            server.me(f"{forged}.{signature}").refused(401)


def test_the_public_key_is_no_hmac_secret(server: Server, jwks: dict[str, Any], token: str) -> None:
    public = next(key for key in jwks["keys"] if key["kid"] == tokens.header(token)["kid"])
    key = ECKey.import_key(public)
    point = tokens.decode(public["x"]) + tokens.decode(public["y"])
    pem, der = key.as_pem(private=False), key.as_der(private=False)
    texts = [json.dumps(public), json.dumps(public, separators=(",", ":")), public["x"], public["kid"]]
    for candidate in (pem, pem.strip(), der, point, b"\x04" + point, *(text.encode() for text in texts), b""):
        for header in ({**tokens.header(token), "alg": "HS256"}, {"alg": "HS256", "typ": "JWT"}, tokens.header(token)):
            server.me(tokens.hs256(candidate, header, tokens.claims(token))).refused(401)


def test_an_attackers_own_key_is_refused_however_the_token_names_it(server: Server, token: str) -> None:
    attacker = ECKey.generate_key("P-256")
    own = attacker.as_dict(private=False)
    honest = tokens.header(token)["kid"]
    for names in (
        {"kid": honest},
        {"kid": attacker.thumbprint()},
        {},
        {"kid": honest, "jwk": own},
        {"kid": "../../dev/null"},
    ):
        # Written out by PyJWT, which signs a header as it is, whatever it holds.
        forged = jwt.encode(tokens.claims(token), attacker.private_key, algorithm="ES256", headers=names)
        server.me(forged).refused(401)


def test_an_ecdsa_signature_in_another_encoding_is_refused(server: Server, token: str) -> None:
    text, signature = token.rsplit(".", 1)
    raw = tokens.decode(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    zeros, ones = bytes(64), b"\xff" * 64
    for forged in (encode_dss_signature(r, s), b"\0" + raw, raw + b"\0", raw[32:] + raw[:32], zeros, ones):
        server.me(f"{text}.{tokens.encode(forged)}").refused(401)


# Tokens signed with the right key, by somebody who has it: what they say must hold all the same


def test_a_token_signed_with_the_known_secret_is_accepted_as_the_forgers_control(
    hs256: Server, secret: bytes, hs256_token: str
) -> None:
    forged = tokens.hs256(secret, tokens.header(hs256_token), tokens.claims(hs256_token))
    assert hs256.sees(forged)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": "admin"}, id="the audience of admins"),
        pytest.param({"aud": "file"}, id="the audience of files"),
        pytest.param({"aud": "other"}, id="an unknown audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"iss": "https://issuer.example"}, id="another issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired a minute ago"),
        pytest.param({"exp": 0}, id="expired in 1970"),
        pytest.param({"exp": None}, id="no expiry"),
        pytest.param({"exp": "never"}, id="an expiry that is no number"),
        pytest.param({"sid": str(uuid.uuid4())}, id="an unknown session"),
        pytest.param({"sid": None}, id="no session"),
        pytest.param({"id": str(uuid.uuid4())}, id="another user"),
        pytest.param({"id": None}, id="no user"),
        pytest.param({"aud": "admin", "collection": "_admins"}, id="an admin"),
    ],
)
def test_a_wrong_claim_is_refused_although_the_signature_is_right(
    hs256: Server, secret: bytes, hs256_token: str, changes: dict[str, Any]
) -> None:
    payload = tokens.changed(tokens.claims(hs256_token), changes)
    forged = tokens.hs256(secret, tokens.header(hs256_token), payload)
    hs256.me(forged).refused(401)
    hs256.call("GET", "/api/admin/settings", token=forged).refused(401)


def test_a_token_with_the_session_of_somebody_else_is_refused(hs256: Server, secret: bytes, hs256_token: str) -> None:
    other = tokens.claims(hs256.new_user()["token"])
    payload = {**tokens.claims(hs256_token), "sid": other["sid"]}
    hs256.me(tokens.hs256(secret, tokens.header(hs256_token), payload)).refused(401)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"alg": "none"}, id="no algorithm"),
        pytest.param({"alg": "HS512"}, id="another HMAC"),
        pytest.param({"alg": "ES256"}, id="an elliptic curve"),
        pytest.param({"alg": "hs256"}, id="the algorithm in lower case"),
        pytest.param({"alg": None}, id="no algorithm named"),
        pytest.param({"alg": ["HS256"]}, id="a list of algorithms"),
        pytest.param({"kid": "unknown"}, id="an unknown key"),
        pytest.param({"kid": 1}, id="a key that is no text"),
        pytest.param({"crit": ["exp"], "exp": 1}, id="a critical header it does not know"),
        pytest.param({"crit": []}, id="an empty list of critical headers"),
        pytest.param({"crit": ["b64"], "b64": False}, id="an unencoded payload"),
    ],
)
def test_a_wrong_header_is_refused_although_the_signature_is_right(
    hs256: Server, secret: bytes, hs256_token: str, changes: dict[str, Any]
) -> None:
    header = tokens.changed(tokens.header(hs256_token), changes)
    hs256.me(tokens.hs256(secret, header, tokens.claims(hs256_token))).refused(401)


def test_segments_that_are_no_json_objects_are_refused_although_the_signature_is_right(
    hs256: Server, secret: bytes, hs256_token: str
) -> None:
    header, payload = tokens.header(hs256_token), tokens.claims(hs256_token)
    for head, body in (
        (header, []),
        (header, "text"),
        (header, None),
        ([], payload),
        ("text", payload),
        (None, payload),
    ):
        hs256.me(tokens.hs256(secret, head, body)).refused(401)
    deep = tokens.encode(b"[" * 5_000)
    hs256.me(f"{deep}.{deep}.{deep}").refused(401)


def test_no_text_but_the_token_itself_is_accepted_with_a_shared_secret(hs256: Server, hs256_token: str) -> None:
    for name, text in mutations(hs256_token).items():
        assert hs256.me(text).status == 401, name
    assert hs256.sees(hs256_token)


def test_a_token_of_another_server_is_refused(server: Server, launch: Callable[..., Server]) -> None:
    stranger = launch().new_user()
    server.me(stranger["token"]).refused(401)
