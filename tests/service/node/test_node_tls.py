"""DICOM over TLS: one that connects and says nothing does not hold up the others."""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_node_store import Listening

from hepar.service.node.dimse import echo

pytest.importorskip("pynetdicom", reason="the node needs hepar[dicom]")


@pytest.fixture
def certificate(tmp_path) -> tuple[Path, Path]:
    """One that is its own authority, for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    made = tmp_path / "node.crt", tmp_path / "node.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=node",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made[0]), "-keyout", str(made[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


@pytest.fixture
def listening(tmp_path, certificate):
    shown, key = certificate
    made = Listening(tmp_path / "node", f'[tls]\ncertificate = "{shown}"\nkey = "{key}"')
    made.server.start()
    yield made
    made.server.stop()


def test_a_caller_that_trusts_the_node_is_served_though_another_connects_and_is_silent(listening, certificate):
    with socket.create_connection(("127.0.0.1", listening.settings.node.port)):
        echo(replace(listening.peer(), tls=True, authority=certificate[0]), "SENDER")
