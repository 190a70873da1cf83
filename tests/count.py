"""Adds up the closing lines of nextest, cargo test, pytest and `demo --check` in a log: prints `PASSED FAILED`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# A closing line of each runner. Errors (pytest) and timeouts (nextest) are failures; a test that
# failed as announced (xfailed) has passed, one that did not (xpassed, not strict) too.
CLOSING = re.compile(
    r"^\s*Summary \[.*tests? run:.*$"  # nextest
    r"|^test result: .*$"  # cargo test
    r"|^\d+ passed, \d+ failed$"  # demo --check
    r"|^=* ?\d+ (?:passed|failed|errors?|xfailed)\b.* in [\d.]+s.*$",  # pytest
    re.MULTILINE,
)
GOOD = {"passed", "xfailed", "xpassed"}
BAD = {"failed", "error", "errors", "timed out", "exec failed"}


def totals(log: str) -> tuple[int, int]:
    good = bad = 0
    for line in CLOSING.findall(re.sub(r"\x1b\[[0-9;]*m", "", log)):
        for number, word in re.findall(r"(\d+) (passed|failed|errors?|xfailed|xpassed|timed out|exec failed)", line):
            good += int(number) if word in GOOD else 0
            bad += int(number) if word in BAD else 0
    return good, bad


if __name__ == "__main__":
    print(*totals(Path(sys.argv[1]).read_text(errors="replace")))
