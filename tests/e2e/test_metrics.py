"""What /metrics tells: to a parser that is not ours, to promtool, and to a real Prometheus whose rules fire.

Which numbers are counted, and that they are exact, is tested in tests/it/metrics.rs.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import certs
from upstream import RawUpstream
from vestibule import ROOT, Server, free_port, wait_until

RULES = ROOT / "ops/prometheus/alerts.yml"
RULE_TESTS = ROOT / "ops/prometheus/alerts.test.yml"
DASHBOARD = ROOT / "ops/grafana/vestibule.json"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass
class Metered(Server):
    """A persona that is well, one whose app is gone, and an admin listener with a token."""

    app_port: int

    def __post_init__(self) -> None:
        self.admin = free_port()
        self.token = "0123456789abcdef0123456789abcdef"

    def configuration(self) -> str:
        token = self.folder / "token"
        token.write_text(self.token)
        check = 'health = { path = "/health", interval = "1s", unhealthy_threshold = 1 }'
        return f"""
[server]
http = ["127.0.0.1:{self.port}"]
http_mode = "serve"
workers = 2
drain_timeout = "2s"
[admin]
listen = "127.0.0.1:{self.admin}"
token = "file:{token}"
[tls]
certificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]
[telemetry]
access_log = "{self.access}"
[upstreams.well]
servers = ["http://127.0.0.1:{self.app_port}"]
[upstreams.gone]
servers = ["http://127.0.0.1:{free_port()}"]
{check}
[tenants.acme.personas.sales]
hosts = ["chat-public.localhost"]
upstream = "well"
[tenants.acme.personas.help]
hosts = ["chat-test.localhost"]
upstream = "gone"
"""

    def get(self, host: str, path: str) -> int:
        return fetch(f"http://127.0.0.1:{self.port}{path}", {"Host": host})[0]

    def metrics(self, accept: str = "") -> tuple[str, str]:
        """The text, and its type."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept}
        status, body, kind = fetch(f"http://127.0.0.1:{self.admin}/metrics", headers)
        assert status == 200, body
        return body, kind


def fetch(url: str, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Status, body and media type."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers["Content-Type"]


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    folder = tmp_path_factory.mktemp("metered")
    with RawUpstream() as app, Metered(folder, certs.make(folder, days=1), app.port) as running:
        for _ in range(3):
            assert running.get("chat-public.localhost", "/page.css") == 200
        for _ in range(2):
            assert running.get("chat-test.localhost", "/page.css") in (502, 503)
        assert running.get("elsewhere.localhost", "/") == 404
        yield running
        assert running.alive(), f"vestibule ended by itself:\n{running.tail()}"


def samples(families: Any) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", parse_text),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8", parse_openmetrics),
    ],
    ids=["text", "openmetrics"],
)
def test_another_parser_reads_what_was_counted(metered: Metered, accept, kind, parse):
    text, seen = metered.metrics(accept)
    assert seen == kind
    told = samples(parse(text))
    labels = {
        "tenant": "acme",
        "persona": "sales",
        "http_request_method": "GET",
        "http_response_status_class": "2xx",
        "network_protocol_version": "1.1",
    }
    name = "http_server_request_duration_seconds"
    assert told[f"{name}_count", frozenset(labels.items())] == 3
    assert told[f"{name}_bucket", frozenset((labels | {"le": "+Inf"}).items())] == 3
    assert ("vestibule_rejections_total", frozenset({"code": "not_found"}.items())) in told
    assert told["process_memory_usage_bytes", frozenset()] > 1e6


def test_promtool_finds_nothing_to_complain_about(metered: Metered):
    checked = promtool("check", "metrics", text=metered.metrics()[0])
    assert checked.returncode == 0 and not checked.stderr, checked.stdout + checked.stderr


def test_without_the_token_nothing_is_told(metered: Metered):
    status, body, _ = fetch(f"http://127.0.0.1:{metered.admin}/metrics")
    assert status == 401 and "vestibule_" not in body


def test_a_reload_that_is_refused_is_told_until_one_is_applied(
    certificates: certs.Certificates, tmp_path: Path
):
    with Metered(tmp_path, certificates, app_port=free_port()) as running:
        good = running.configuration()

        def reloads() -> dict[str, float]:
            told = samples(parse_text(running.metrics()[0]))
            outcomes = {
                dict(labels)["outcome"]: value
                for (name, labels), value in told.items()
                if name == "vestibule_reloads_total"
            }
            return outcomes | {"refusing": told["vestibule_reload_refused", frozenset()]}

        for text, expected in [
            ("nonsense\n" + good, {"applied": 0, "refused": 1, "refusing": 1}),
            (good.replace("chat-public", "chat-other"), {"applied": 1, "refused": 1, "refusing": 0}),
        ]:
            # The files are looked at once a second.
            (tmp_path / "vestibule.toml").write_text(text)
            wait_until(lambda: expected.items() <= reloads().items(), f"{expected}: {reloads()}")  # noqa: B023


def promtool(*arguments: object, text: str | None = None) -> subprocess.CompletedProcess:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_rules_are_sound_and_each_fires_for_what_it_is_for():
    for done in (promtool("check", "rules", RULES), promtool("test", "rules", RULE_TESTS)):
        assert done.returncode == 0, done.stdout + done.stderr
    rules = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    # An expectation of alerts names what fires.
    fired = set(re.findall(r"alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:", RULE_TESTS.read_text()))
    assert fired == rules


def expressions() -> list[tuple[str, str]]:
    """Panel and PromQL of the dashboard, with what Grafana puts in place of its variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [
        (panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    found += [(it["name"], it["expr"]) for it in dashboard["annotations"]["list"]]
    values = {"$__rate_interval": "1m", "$tenant": ".*", "$persona": ".*"}
    for variable, value in values.items():
        found = [(title, expression.replace(variable, value)) for title, expression in found]
    return found


@dataclass
class Prometheus:
    folder: Path
    target: Metered

    def __enter__(self) -> Prometheus:
        self.port = free_port()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "vestibule",
                    "authorization": {"credentials": self.target.token},
                    "static_configs": [{"targets": [f"127.0.0.1:{self.target.admin}"]}],
                }
            ],
        }
        # JSON is YAML.
        (self.folder / "prometheus.yml").write_text(json.dumps(configuration))
        self.log = (self.folder / "prometheus.log").open("wb")
        command = [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; nothing while it starts."""
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
            status, body, _ = fetch(url)
        except OSError:
            assert self.process.poll() is None, (self.folder / "prometheus.log").read_text()
            return None
        if status == 503:
            return None
        answer = json.loads(body)
        assert status == 200 and answer["status"] == "success", f"{query}: {body}"
        return answer["data"]

    def number(self, query: str) -> float | None:
        data = self.ask("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def alerts(self) -> dict[str, set[str]]:
        """The states of each alert that is not inactive."""
        found: dict[str, set[str]] = {}
        for alert in (self.ask("alerts") or {"alerts": []})["alerts"]:
            found.setdefault(alert["labels"]["alertname"], set()).add(alert["state"])
        return found


@pytest.fixture(scope="module")
def prometheus(metered: Metered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus"), metered) as running:
        wait_until(lambda: running.number('up{job="vestibule"}') == 1, "a scrape")
        yield running


def test_prometheus_scrapes_the_counts(prometheus: Prometheus):
    query = 'sum(http_server_request_duration_seconds_count{persona="sales",http_response_status_class="2xx"})'
    assert prometheus.number(query) == 3
    # The bound that the rule about handshakes names is written as the rule writes it.
    assert prometheus.number('count(http_server_request_duration_seconds_bucket{le="1.0"})') >= 2


def test_every_panel_of_the_dashboard_asks_what_prometheus_understands(prometheus: Prometheus):
    asked = expressions()
    assert len(asked) > 30
    for title, expression in asked:
        assert prometheus.ask("query", query=expression) is not None, title


def test_rules_fire_for_a_certificate_that_ends_and_an_upstream_that_is_gone(prometheus: Prometheus):
    firing = {"VestibuleCertificateExpiringSoon", "VestibuleUpstreamDown"}

    def fired() -> bool:
        alerts = prometheus.alerts()
        return all("firing" in alerts.get(name, ()) for name in firing)

    # The rule about upstreams waits for half a minute, in case it passes.
    wait_until(fired, "the alerts", 90)
    assert prometheus.number('ALERTS{alertname="VestibuleUpstreamDown",upstream="gone"}') == 1
    assert prometheus.number('ALERTS{alertname="VestibuleUpstreamDown",upstream="well"}') is None
    assert not {"VestibuleDown", "VestibuleReloadRefused"} & prometheus.alerts().keys()
