"""What a session outlives: a restart, a new secret; and what it does not: the day that its tenant names."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployment import CUSTOMER, Deployment, Tenant
from streamlit_wire import stream
from upstream import RawUpstream
from vestibule import wait_until
from visitor import SCRIPT, Visitor


@pytest.fixture
def own_upstream():
    with RawUpstream() as running:
        yield running


@pytest.fixture
def own_door(certificates, own_upstream: RawUpstream, tmp_path):
    """A Vestibule of the test's own, with one secret of its own."""
    tenants = [Tenant("own", own_upstream.port, {"customer": CUSTOMER}), Tenant("other", own_upstream.port)]
    with Deployment(tmp_path, certificates, tenants, secrets=[secret(tmp_path, "first")]) as running:
        yield running


def secret(folder, name: str) -> str:
    """A new secret, as `openssl rand -hex 32` prints it."""
    file = folder / f"{name}.secret"
    file.write_text(secrets.token_hex(32) + "\n")
    file.chmod(0o600)
    return f"file:{file}"


class User:
    """A visitor of `own`'s customer persona."""

    def __init__(self, door: Deployment, upstream: RawUpstream, user_id: int, tenant: str = "own") -> None:
        self.door, self.upstream, self.user_id, self.tenant = door, upstream, user_id, tenant
        self.visitor = Visitor(door.port, door.certificates.ca)
        assert self.visitor.open(door.launch("customer", tenant, user_id=user_id)).status == 200
        self.session = self.check_known()

    def ask(self):
        self.marker = f"asked-{secrets.token_hex(8)}"
        return self.visitor.get(f"{self.door.chat('customer', self.tenant)}/static/{self.marker}.js", SCRIPT)

    def check_known(self) -> list[str]:
        answer = self.ask()
        assert answer.status == 200, answer
        (request,) = self.upstream.to(self.marker)
        assert request.values("x-vestibule-user-id") == [str(self.user_id)]
        return request.values("x-vestibule-session")

    def check_unknown(self) -> None:
        answer = self.ask()
        assert answer.status == 401 and answer.code.startswith("session_"), answer
        assert self.upstream.to(self.marker) == []


def restart(door: Deployment) -> None:
    door.stop()
    door.start()


def test_a_session_survives_a_restart(own_door: Deployment, own_upstream: RawUpstream) -> None:
    user = User(own_door, own_upstream, 41)
    restart(own_door)
    assert user.check_known() == user.session


def test_without_a_secret_a_restart_ends_sessions(own_door: Deployment, own_upstream: RawUpstream) -> None:
    """The control: it is the secret that carries them over."""
    own_door.secrets = []
    restart(own_door)
    user = User(own_door, own_upstream, 41)
    restart(own_door)
    user.check_unknown()


@pytest.mark.parametrize("how", [restart, Deployment.reload])
def test_a_session_survives_the_rotation_of_secrets(
    how, own_door: Deployment, own_upstream: RawUpstream, tmp_path
) -> None:
    """A new secret in front, then the old one away: in one step nobody notices, in two the old sessions end."""
    old = User(own_door, own_upstream, 41)
    first, second = own_door.secrets[0], secret(tmp_path, "second")
    own_door.secrets = [second, first]
    how(own_door)
    if how is Deployment.reload:
        wait_until(lambda: own_door.tail().count("the new configuration serves"), "the reload in the log", seconds=20)
    new = User(own_door, own_upstream, 42)
    assert old.check_known() == old.session
    own_door.secrets = [second]
    how(own_door)
    wait_until(lambda: old.ask().status == 401, "the old secret to be forgotten", seconds=20)
    old.check_unknown()
    assert new.check_known() == new.session


def test_a_moment_ends_what_was_launched_before_it(own_door: Deployment, own_upstream: RawUpstream) -> None:
    """By a reload, streams included; who comes later stays, other tenants notice nothing, and a restart forgets nothing."""
    user, neighbour = User(own_door, own_upstream, 41), User(own_door, own_upstream, 41, "other")
    origin, other = own_door.chat("customer", "own"), own_door.chat("customer", "other")
    with stream(user.visitor, origin) as cut, stream(neighbour.visitor, other) as kept:
        # Launches count whole seconds.
        moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        wait_until(lambda: datetime.now(UTC) >= moment, "the moment", seconds=5)
        own, *others = own_door.tenants
        own_door.tenants = [replace(own, revoke_before=moment.strftime("%Y-%m-%dT%H:%M:%SZ")), *others]
        own_door.reload()
        code, _ = cut.ending()
        assert code == 1008
        user.check_unknown()
        kept.socket.send("still here")
        assert kept.socket.recv() == "still here"
        neighbour.check_known()
    later = User(own_door, own_upstream, 43)
    restart(own_door)
    user.check_unknown()
    later.check_known()
