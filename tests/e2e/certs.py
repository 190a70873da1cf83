"""A throw-away authority and one leaf, made with the openssl program for each test run."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

HOSTS = [f"{host}.localhost" for host in ["chat-public", "chat-customer", "chat-employee", "chat-test", "app"]]
# Many personas on one wildcard, and host pages of another registrable domain.
WILDCARDS = ["*.chat.test", "*.shop.test"]


@dataclass(frozen=True)
class Certificates:
    ca: Path
    cert: Path
    key: Path
    # Base64 of the SHA-256 of the leaf's public key: how Chromium is told to trust it.
    spki: str


def make(folder: Path, days: int = 30) -> Certificates:
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    leaf, leaf_key, request = folder / "leaf.pem", folder / "leaf.key", folder / "leaf.csr"
    extensions = folder / "leaf.ext"
    names = ",".join(f"DNS:{name}" for name in [*HOSTS, *WILDCARDS])
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(
        "req",
        "-x509",
        *new_key,
        "-keyout",
        ca_key,
        "-out",
        ca,
        "-days",
        30,
        "-subj",
        "/CN=Vestibule end-to-end tests",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    openssl("req", *new_key, "-keyout", leaf_key, "-out", request, "-subj", "/CN=chat-test.localhost")
    openssl(
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        ca,
        "-CAkey",
        ca_key,
        "-CAcreateserial",
        "-out",
        leaf,
        "-days",
        days,
        "-extfile",
        extensions,
    )
    leaf_key.chmod(0o600)
    return Certificates(ca, leaf, leaf_key, spki_of(leaf))


def spki_of(certificate: Path) -> str:
    pem = openssl("x509", "-in", certificate, "-pubkey", "-noout")
    der = base64.b64decode("".join(pem.decode().splitlines()[1:-1]))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def openssl(*arguments: object) -> bytes:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout
