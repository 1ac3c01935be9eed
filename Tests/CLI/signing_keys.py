"""Keys that sign tokens as other servers do, by a library that is not ours."""

from __future__ import annotations

import json
import uuid
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tokens import encode


class Key:
    """A key that ID tokens are signed with."""

    def __init__(self, algorithm: Literal["RS256", "ES256"] = "RS256", bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.id = uuid.uuid4().hex
        self._private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = (
            rsa.generate_private_key(65537, bits) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self._private.public_key().public_numbers()
        common = {"kid": self.id, "use": "sig", "alg": self.algorithm}
        if isinstance(numbers, rsa.RSAPublicNumbers):
            return {**common, "kty": "RSA", "n": _base64url(numbers.n), "e": _base64url(numbers.e)}
        return {**common, "kty": "EC", "crv": "P-256", "x": _base64url(numbers.x, 32), "y": _base64url(numbers.y, 32)}

    @property
    def pem(self) -> bytes:
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._private.public_key().public_bytes(serialization.Encoding.PEM, spki)

    def signed(self, header: Any, claims: Any) -> str:
        """A JWT of these contents, whatever its header says; claims that are bytes go in as they are."""
        raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        text = f"{encode(json.dumps(header).encode())}.{encode(raw)}"
        if isinstance(self._private, rsa.RSAPrivateKey):
            return f"{text}.{encode(self._private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
        r, s = decode_dss_signature(self._private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64url(number: int, size: int = 0) -> str:
    return encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))
