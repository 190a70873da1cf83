"""What the compiler and clippy do not check: who may use what, and what the build may depend on.

A finding is printed as file:line, what stands there, and the rule it breaks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Rule:
    """`pattern` may not stand in the files of `within` that are not below one of `unless`."""

    pattern: str
    within: tuple[str, ...]
    reason: str
    unless: tuple[str, ...] = ()


PURE = ("src/gate", "src/route.rs", "src/policy", "src/rejection.rs")
# `demo --check` is a client of its own, so that it does not judge the server by the server's code.
CLIENT = ("src/demo/check",)
RULES = [
    Rule(
        r"\bhttparse::",
        ("src",),
        "only the HTTP/1 codec parses HTTP/1",
        ("src/http1", "src/edge", "src/upstream", *CLIENT),
    ),
    Rule(r"\bh2::", ("src",), "only the edge speaks HTTP/2", ("src/edge", "src/upstream", *CLIENT)),
    Rule(r"\bpingora\w*::", ("src",), "only upstream:: touches pingora", ("src/upstream",)),
    Rule(r"\b(tokio|hyper\w*|socket2)::", PURE, "policy is pure: no sockets, no runtime"),
    Rule(r"\b(Instant|SystemTime)::now\b", PURE, "policy is pure: time is an argument"),
    Rule(r"\b(getrandom|rand)::", PURE, "policy is pure: randomness is an argument"),
    Rule(
        r"\b(e?print|e?println)!",
        ("src",),
        "printing panics when the reader has gone, and blocks a worker: only the command line does it",
        ("src/cli", "src/demo", "src/main.rs"),
    ),
    Rule(r"\bserde::", ("src/config/snapshot.rs",), "the snapshot has behaviour and no serde"),
    Rule(r"\b(Mutex|RwLock|RefCell|Atomic\w+)\b", ("src/config/snapshot.rs",), "the snapshot is immutable"),
]

# Crate, and the one crate that may ask for it. aws-lc-sys lists cmake but compiles with `cc` on the
# platforms we support: the first command of the README works without cmake.
BANNED: dict[str, str | None] = {
    "cmake": "aws-lc-sys",
    "libz-ng-sys": None,
    "ring": None,
    "openssl-sys": None,
    "native-tls": None,
    "tracing-subscriber": None,
    "tracing-log": None,
    "env_logger": None,
}


def findings(rule: Rule) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}: {rule.reason}"
        for path in sources(rule)
        for number, line in enumerate(production(path), 1)
        if re.search(rule.pattern, line.split("//")[0])
    ]


def sources(rule: Rule) -> list[Path]:
    """Rust files of the rule's folders; test modules in files of their own are free."""
    files = [path for path in sorted((ROOT / "src").rglob("*.rs")) if "tests" not in (path.stem, *path.parts)]
    return [path for path in files if inside(path, rule.within) and not inside(path, rule.unless)]


def inside(path: Path, places: tuple[str, ...]) -> bool:
    return any(path == ROOT / place or ROOT / place in path.parents for place in places)


def production(path: Path) -> list[str]:
    """The lines before the test module: by convention it is the last item of a file."""
    text = path.read_text()
    return re.split(r"^#\[cfg\(test\)\]\nmod ", text, flags=re.MULTILINE)[0].splitlines()


def banned_crates() -> list[str]:
    graph = tree("--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    present = {line.split()[0] for line in graph.splitlines() if line.strip()}
    return [
        f"Cargo.lock: {crate} is asked for by {parent}: banned in deny.toml"
        for crate in sorted(present & BANNED.keys())
        for parent in askers(crate)
        if parent != BANNED[crate]
    ]


def askers(crate: str) -> list[str]:
    """The crates that depend on `crate` directly."""
    graph = tree("--edges", "no-dev", "--invert", crate, "--depth", "1", "--prefix", "none", "--format", "{p}")
    names = [line.split()[0] for line in graph.splitlines() if line.strip() and not line.startswith("[")]
    return sorted(set(names) - {crate})


def tree(*arguments: str) -> str:
    """`cargo tree` for every target, so that a machine of another kind finds nothing new."""
    command = ["cargo", "tree", "--quiet", "--locked", "--target", "all", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    found = [finding for rule in RULES for finding in findings(rule)] + banned_crates()
    print("\n".join(found) or f"{len(RULES)} layering rules hold, no banned crate is in the graph")
    sys.exit(bool(found))
