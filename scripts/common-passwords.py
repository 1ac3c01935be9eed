#!/usr/bin/env python3
"""Writes Sources/Auth/Flows/Password/CommonPasswords.swift.

The source is the list that Django ships: passwords in order of frequency, lower case. The package is fetched from PyPI
at the version below, and the list is checked against its digest, so a second run writes the same file. Needs pip.
"""

import gzip
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import zipfile

DJANGO = "5.2.19"
MEMBER = "django/contrib/auth/common-passwords.txt.gz"
DIGEST = "29ca0fa5303165f012f3e9775e3e95a3071cdd59f219973ec1cbb308d0214a6f"  # SHA-256 of the unpacked list
COUNT = 3000
LENGTH_MIN = 8
ALLOWED = {"secret123"}  # the example of the product's documents
SLURS = "avtt ovgpu phag sntt fyhg juber yrfob puvax ergneq".translate(  # rot13: nobody needs to read them here
    str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
).split()
TARGET = pathlib.Path(__file__).parent.parent / "Sources/Auth/Flows/Password/CommonPasswords.swift"

HEAD = f'''/// The {COUNT:,} most common passwords of at least {LENGTH_MIN} characters, in lower case, most common first.
///
/// Made by `scripts/common-passwords.py` from the list in Django {DJANGO}, which Royce Williams compiled. Copyright (c)
/// Django Software Foundation and individual contributors, BSD-3-Clause (see `NOTICE`). Slurs are left out, and so is
/// the password that this product's documents use as their example.
enum CommonPasswords {{
    /// The passwords, separated by white space.
    static let list: StaticString = """
'''


def ranking() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, f"Django=={DJANGO}"], check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            data = gzip.decompress(archive.read(MEMBER))
    if (found := hashlib.sha256(data).hexdigest()) != DIGEST:
        sys.exit(f"common-passwords.txt has the digest {found}, not {DIGEST}")
    return data.decode().split("\n")


def wanted(password: str) -> bool:
    plain = password.isascii() and password.isprintable() and not set(' "\\') & set(password)
    slur = any(stem in password for stem in SLURS)
    return plain and len(password) >= LENGTH_MIN and password not in ALLOWED and not slur


def main() -> None:
    passwords = list(filter(wanted, ranking()))[:COUNT]
    assert len(set(passwords)) == COUNT and all(word == word.casefold() for word in passwords)
    indent = " " * 8
    lines = textwrap.wrap(
        " ".join(passwords),
        width=120,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    TARGET.write_text(HEAD + "\n".join(lines) + f'\n{indent}"""\n}}\n')


main()
