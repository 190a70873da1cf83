"""Several replicas of a Streamlit app, whose sessions live in one process each: one dies, all are restarted."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from apps import Streamlit
from deployment import CUSTOMER, Deployment, Tenant
from streamlit_wire import Chat, Closed, stream
from visitor import SCRIPT, Visitor

STICKY = ('balance = "sticky"', 'health = { path = "/_stcore/health", interval = "1s" }')


@pytest.fixture
def replicas(tmp_path, request: pytest.FixtureRequest):
    """So many replicas as the test says."""
    running = [Streamlit("1.67", tmp_path) for _ in range(request.param)]
    for one in running:
        one.start()
    try:
        for one in running:
            one.wait()
        yield running
    finally:
        for one in running:
            if one.process.poll() is None:
                one.stop()


@pytest.fixture
def own_door(certificates, replicas: list[Streamlit], tmp_path):
    first, *others = [one.port for one in replicas]
    tenant = Tenant("own", first, {"customer": CUSTOMER}, replicas=tuple(others), upstream=STICKY)
    with Deployment(tmp_path, certificates, [tenant]) as running:
        yield running
        assert running.alive(), f"vestibule ended by itself:\n{running.tail()}"


class User:
    """Someone who chats, and whose page reconnects as Streamlit's own does."""

    def __init__(self, door: Deployment, user_id: int, stack: ExitStack) -> None:
        self.origin, self.stack = door.chat("customer", "own"), stack
        self.visitor = Visitor(door.port, door.certificates.ca)
        assert self.visitor.open(door.launch("customer", "own", user_id=user_id)).status == 200
        assert self.visitor.get(f"{self.origin}/_stcore/health", SCRIPT).status == 200
        self.user_id, self.resume = str(user_id), None
        self.connect()

    def connect(self) -> None:
        self.chat: Chat = self.stack.enter_context(stream(self.visitor, self.origin, resume=self.resume))
        self.talk()
        self.resume = self.chat.resume

    def talk(self) -> None:
        """One turn: the script runs, and knows who is asking."""
        facts = self.chat.run()
        assert facts["owner"] == self.user_id
        self.port, self.born = facts["port"], facts["born"]

    def is_cut(self) -> bool:
        try:
            self.talk()
        except Closed:
            return True
        return False

    def upload(self) -> None:
        """A file for this session: only the process that has the session takes it."""
        boundary = "between"
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            f"Content-Type: text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
        ).encode()
        host = self.origin.removeprefix("https://").split(":")[0]
        headers = SCRIPT | {
            "Origin": self.origin,
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "X-Xsrftoken": self.visitor.jar[host].get("_streamlit_xsrf", "none"),
        }
        url = f"{self.origin}/_stcore/upload_file/{self.chat.resume}/{self.user_id}"
        answer = self.visitor.request("PUT", url, headers, body)
        assert answer.status == 204, (self.port, answer)


@pytest.mark.parametrize("replicas", [2], indirect=True)
def test_one_replica_of_two_is_killed_mid_chat(replicas: list[Streamlit], own_door: Deployment) -> None:
    """Its users are back within three seconds, on the other one; the others notice nothing."""
    with ExitStack() as stack:
        users = [User(own_door, 100 + number, stack) for number in range(8)]
        homes = {user.port for user in users}
        assert homes == {one.port for one in replicas}, "both have users"
        for user in users:
            user.upload()
        dead, other = replicas
        dead.kill()
        killed = time.monotonic()
        for user in users:
            if user.port == dead.port:
                assert user.is_cut()
                user.connect()
                assert user.port == other.port
        took = time.monotonic() - killed
        assert took < 3, f"{took:.1f} s until everybody was back"
        for user in users:
            before = user.born
            user.talk()
            user.upload()
            assert user.born == before
        # It comes back: those who have moved stay, with what they have there.
        dead.start()
        dead.wait()
        for user in users:
            before = user.born
            user.talk()
            user.upload()
            assert (user.port, user.born) == (other.port, before)


@pytest.mark.parametrize("replicas", [4], indirect=True)
def test_four_replicas_are_restarted_while_users_chat(replicas: list[Streamlit], own_door: Deployment) -> None:
    """Each restart moves its own users, at once, and interrupts nobody else."""
    with ExitStack() as stack:
        users = [User(own_door, 200 + number, stack) for number in range(12)]
        for one in replicas:
            before = {user: user.born for user in users}
            leaving = [user for user in users if user.port == one.port]
            one.stop()
            for user in leaving:
                assert user.is_cut()
                user.connect()
                assert user.port != one.port
            one.start()
            for user in users:
                user.talk()
                user.upload()
                assert user in leaving or user.born == before[user], "somebody else was interrupted"
            one.wait()


@pytest.mark.parametrize("replicas", [2], indirect=True)
def test_a_stream_that_breaks_finds_its_session_again(replicas: list[Streamlit], own_door: Deployment) -> None:
    """The control of the others: a session is kept by the process that has it."""
    with ExitStack() as stack:
        users = [User(own_door, 300 + number, stack) for number in range(6)]
        for user in users:
            before = user.born
            user.chat.socket.close()
            user.connect()
            assert user.born == before
            user.upload()
