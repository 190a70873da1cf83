"""Starting, measuring and ending processes. Linux only: everything is read from /proc."""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 15.0
STOP_SECONDS = 5.0
PR_SET_PDEATHSIG = 1

# Loaded before any fork: a child between fork and exec must not import anything.
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """What the person at the terminal should read; no traceback."""


def cores() -> tuple[int, int]:
    """The proxy's core, and the core of everything else."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for client and backend")
    return allowed[0], allowed[1]


def tail(path: Path, lines: int = 12) -> str:
    if not path.exists():
        return "(no log)"
    return "\n".join(
        "    " + line for line in path.read_text(errors="replace").splitlines()[-lines:]
    )


@dataclass
class Process:
    """One process that we started, with whatever children it makes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    known: set[int] = field(default_factory=set)

    def pids(self) -> list[int]:
        """This process and all below it."""
        found, todo = [], [self.popen.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    todo += [int(child) for child in task.read_text().split()]
                except OSError:
                    continue
        self.known.update(found)
        return sorted(found)

    def cpu_ns(self) -> int:
        """Nanoseconds on a core so far, of every thread of every process."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def memory_kib(self) -> float:
        """Proportional set size: what is shared between a master and its worker counts once."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return float(total)

    def alive(self) -> bool:
        return self.popen.poll() is None

    def failure(self, what: str) -> BenchError:
        state = "still runs" if self.alive() else f"ended with status {self.popen.returncode}"
        return BenchError(f"{self.name} {what} ({state}); last lines of its log:\n{tail(self.log)}")

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if not self.alive() or time.monotonic() > deadline:
                raise self.failure(what)
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it by its id, then whatever it left behind."""
        if self.alive():
            self.pids()
            self.popen.send_signal(signal.SIGTERM)
            try:
                # A proxy that drains politely is not waited for: nobody is connected any more.
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pid in self.known - {self.popen.pid}:
            # An id may have been given to someone else by now; only an orphan of ours is ended.
            if orphaned(pid, self.log.parent):
                os.kill(pid, signal.SIGKILL)


def orphaned(pid: int, directory: Path) -> bool:
    """Whether `pid` is a process without its parent that still works in our directory."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        same_place = Path(os.readlink(f"/proc/{pid}/cwd")) == directory
    except OSError:
        return False
    return same_place and stat.rsplit(")", 1)[1].split()[1] == "1"


def start(
    name: str,
    command: Sequence[str | Path],
    core: int,
    directory: Path,
    environment: dict[str, str] | None = None,
    pipes: bool = False,
) -> Process:
    """Starts `command` on one core, working in `directory`, its output in NAME.log there."""

    def before_exec() -> None:
        os.sched_setaffinity(0, {core})
        # Should this program be killed, nothing that it started stays behind.
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    log = directory / f"{name}.log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [str(word) for word in command],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            preexec_fn=before_exec,
        )
    return Process(name, popen, log)


@dataclass
class Generator:
    """A load generator that says when it is ready, waits for a word, and says when it is done."""

    process: Process
    patience: float

    def expect(self, event: str) -> dict[str, Any]:
        stdout = self.process.popen.stdout
        assert stdout is not None, "generators are started with pipes"
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(self.patience) else b""
        message = json.loads(line) if line.strip() else {}
        if message.get("event") != event:
            raise self.process.failure(f"did not get as far as '{event}'")
        return message

    def go_on(self) -> None:
        stdin = self.process.popen.stdin
        assert stdin is not None, "generators are started with pipes"
        try:
            stdin.write(b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self.process.failure("went away") from None

    def finish(self) -> None:
        """Lets it check what is left to check; its exit status is the verdict."""
        self.go_on()
        try:
            status = self.process.popen.wait(self.patience)
        except subprocess.TimeoutExpired:
            raise self.process.failure("does not end") from None
        if status != 0:
            raise self.process.failure("saw wrong answers")


def busy_ns(core: int) -> int:
    """How long `core` has not been idle since the machine started; in ticks of 10 ms."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
            ticks = user + nice + system + irq + softirq + steal
            return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    raise BenchError(f"/proc/stat does not know core {core}")
