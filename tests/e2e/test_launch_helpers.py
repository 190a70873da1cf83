"""What docs/injection.md gives to authors of apps: both helpers, as they stand there, ask the real listener."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from upstream import RawUpstream
from vestibule import ROOT, Server, free_port
from visitor import DOCUMENT, Visitor

HOST = "sales.chat.test"


@dataclass
class Sales(Server):
    app_port: int

    def configuration(self) -> str:
        self.internal = f"127.0.0.1:{free_port()}"
        return f"""
            [server]
            https = ["127.0.0.1:{self.port}"]
            [internal]
            listen = "{self.internal}"
            [tls]
            certificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]
            [telemetry]
            access_log = "{self.access}"
            [upstreams.app]
            servers = ["http://127.0.0.1:{self.app_port}"]
            [tenants.ragtime.personas.sales]
            hosts = ["{HOST}"]
            upstream = "app"
            user_id = "optional"
            trust_asserted = true
            injection = {{ enabled = true }}
            variables = [{{ name = "user_name" }}]
        """


def helper(language: str) -> str:
    """The code block that defines `launched`."""
    text = (ROOT / "docs/injection.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(r"^(def|export async function) launched\(", block, re.MULTILINE)]
    return block


def run(language: str, folder: Path, assertion: str, listener: str) -> subprocess.CompletedProcess[str]:
    if language == "python":
        file, command = folder / "helper.py", [sys.executable]
        call = f"print(json.dumps(launched({assertion!r}, {listener!r})))\n"
    else:
        file, command = folder / "helper.mjs", [shutil.which("node") or "node"]
        call = f"console.log(JSON.stringify(await launched({json.dumps(assertion)}, {json.dumps(listener)})));\n"
    file.write_text(helper(language) + call)
    return subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("language", ["python", "js"])
def test_an_app_asks_what_it_was_launched_with(language: str, certificates, tmp_path: Path) -> None:
    with RawUpstream() as upstream, Sales(tmp_path, certificates, upstream.port) as server:
        visitor = Visitor(server.port, certificates.ca)
        opened = visitor.open(f"https://{HOST}:{server.port}/?user_id=u-7&user_name=Zo%C3%AB", DOCUMENT)
        assert opened.status == 200, opened
        (assertion,) = upstream.to("user_name")[-1].values("x-vestibule-assertion")
        answer = run(language, tmp_path, assertion, server.internal)
        assert answer.returncode == 0, answer.stderr
        told = json.loads(answer.stdout)
        assert (told["tenant"], told["persona"], told["user_id"]) == ("ragtime", "sales", "u-7")
        assert told["instructionOverrides"] == {} and told["prefillMessages"] == []
        refused = run(language, tmp_path, assertion[:-8], server.internal)
        assert refused.returncode != 0 and "assertion_invalid" in refused.stderr, refused
