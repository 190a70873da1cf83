"""Finds what a run needs and installs, by package name, what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Made by benches/peers/run while it installs; 101 means: start no service.\nexit 101\n"


def quietly(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Runs `command`; when it fails, shows the end of what it said."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        end = "\n    ".join(done.stdout.splitlines()[-4:])
        print(f"`{' '.join(command)}` failed:\n    {end}", file=sys.stderr)
    return done.returncode == 0


def debian(programs: dict[str, str]) -> None:
    """Installs the packages of the programs that are not there: `{program: package}`.

    A path stands for a file that is no program.
    """

    def is_there(program: str) -> bool:
        path = Path(program)
        return path.exists() if path.is_absolute() else shutil.which(program) is not None

    wanted = sorted({package for program, package in programs.items() if not is_there(program)})
    if not wanted:
        return
    apt = shutil.which("apt-get")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (sudo and not shutil.which("sudo")):
        print(f"not installed, and no way to: {' '.join(wanted)}", file=sys.stderr)
        return
    print(f"installing {' '.join(wanted)}")
    # These packages bring a service that would start at once and at every boot. Nothing here
    # needs it, so it is forbidden while we install and disabled afterwards.
    guarded = not sudo and not POLICY.exists()
    if guarded:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = [*sudo, apt, "install", "-y", "-q", "--no-install-recommends", *wanted]
    try:
        quietly([*sudo, apt, "update", "-q"], quiet)
        quietly(install, quiet)
    finally:
        if guarded:
            POLICY.unlink(missing_ok=True)
    if Path("/run/systemd/system").exists():
        for service in set(wanted) & {"nginx", "haproxy"}:
            quietly([*sudo, "systemctl", "disable", "--now", service])


def pypi(venv: Path, programs: dict[str, str]) -> None:
    """Installs packages into a virtual environment of their own: `{file in it: package}`."""
    wanted = sorted(package for file, package in programs.items() if not list(venv.glob(file)))
    if not wanted:
        return
    print(f"installing {' '.join(wanted)} into {venv}")
    if not (venv / "bin/pip").exists() and not quietly([sys.executable, "-m", "venv", str(venv)]):
        return
    for package in wanted:
        quietly([str(venv / "bin/pip"), "install", "-q", "--disable-pip-version-check", package])


def cargo(package: Path, target: Path, profile: str, binary: str) -> Path | None:
    """Builds `binary` from its lock file; the program, or none."""
    folder = {"dev": "debug"}.get(profile, profile)
    built = quietly(
        ["cargo", "build", "-q", "--locked", "--profile", profile, "--bin", binary]
        + ["--manifest-path", str(package / "Cargo.toml"), "--target-dir", str(target)],
        {"CARGO_TERM_COLOR": "never"},
    )
    program = target / folder / binary
    return program if built and program.exists() else None


def first_existing(candidates: Iterable[Path | str | None]) -> Path | None:
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    return None
