"""A deployment on hosts of the reserved domain .test: personas below `*.chat.test`, host pages below `*.shop.test`.

Every persona is on one wildcard certificate, as the persona seed has it, and host pages are of
another registrable domain, so that a browser sees third parties. A persona `NAME` of tenant `T`
is `NAME-T.chat.test`, the tenant's host page `T.shop.test`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import urlencode

from vestibule import Server

# Nobody's limits: all tests come from one address. What the defaults do is tested with the defaults.
RELAXED = {"ip": "60000/min", "tenant": "600000/min"}
REQUIRED = {"user_id": "required", "user_id_format": "integer", "trust_asserted": True}

# What a host page sends along for each persona (the persona seed, section 5).
PAYLOADS = {
    "public": {"mode": "public", "require_user_id": "false", "allow_generated_id": "true"},
    "customer": {"mode": "customer", "user_id": "12345", "require_user_id": "true", "allow_generated_id": "false"},
    "employee": {"mode": "employee", "user_id": "678", "require_user_id": "true", "allow_generated_id": "false"},
    "test": {"mode": "test"},
}

# The personas of the seed, and what each tenant may have besides.
PUBLIC = {"mode": "public", "user_id": "optional", "allow_generated_id": True}
CUSTOMER = {"mode": "customer", **REQUIRED, "bridge": True}
EMPLOYEE = {"mode": "employee", **REQUIRED, "bridge": True}
TEST = {"mode": "test", "user_id": "optional"}
SEED = {"public": PUBLIC, "customer": CUSTOMER, "employee": EMPLOYEE, "test": TEST}
# Customers whose app answers the handshake itself, and customers of whom nothing opens before it.
PLAIN = CUSTOMER | {"bridge": False}
STRICT = CUSTOMER | {"strict_config": True}


@dataclass(frozen=True)
class Tenant:
    name: str
    # The loopback port of the app behind its personas.
    app_port: int
    personas: dict[str, dict] = field(default_factory=lambda: SEED)
    limits: dict[str, str] | None = field(default_factory=lambda: RELAXED)
    # The loopback port of its host page.
    site_port: int | None = None
    revoke_before: str | None = None
    # Ports of further replicas of the app, and how one is chosen.
    replicas: tuple[int, ...] = ()
    upstream: tuple[str, ...] = ()


@dataclass
class Deployment(Server):
    tenants: list[Tenant]
    # References to session secrets, the one that signs first.
    secrets: list[str] = field(default_factory=list)

    def chat(self, persona: str, tenant: str) -> str:
        """The origin of a persona."""
        return f"https://{self.host(persona, tenant)}:{self.port}"

    def host(self, persona: str, tenant: str) -> str:
        return f"{persona}-{tenant}.chat.test"

    def launch(self, persona: str, tenant: str, path: str = "/", **changes: object) -> str:
        """The URL that a host page builds; `user_id=7` changes a parameter, `None` leaves it out."""
        parameters = {key: value for key, value in (PAYLOADS[persona] | changes).items() if value is not None}
        return f"{self.chat(persona, tenant)}{path}?{urlencode(parameters)}"

    def page(self, tenant: str, path: str = "/", **values: object) -> str:
        """The URL of a host page of pages/."""
        return f"https://{tenant}.shop.test:{self.port}{path}?{urlencode(values)}"

    def configuration(self) -> str:
        secrets = f"session_secrets = {json.dumps(self.secrets)}" if self.secrets else ""
        parts = [
            "[server]",
            f'https = ["127.0.0.1:{self.port}"]',
            "workers = 2",
            'drain_timeout = "1s"',
            'close_within = "1s"',
            secrets,
            "[tls]",
            f'certificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]',
            "[telemetry]",
            f'access_log = "{self.access}"',
        ]
        for tenant in self.tenants:
            parts += self._tenant(tenant)
        return "\n".join(parts) + "\n"

    def _tenant(self, tenant: Tenant) -> list[str]:
        name = tenant.name
        servers = [f"http://127.0.0.1:{port}" for port in (tenant.app_port, *tenant.replicas)]
        lines = [f"[upstreams.{name}]", *table({"servers": servers}), *tenant.upstream]
        lines += [f"[tenants.{name}]", f'embed_origins = ["https://{name}.shop.test:{self.port}"]']
        if tenant.limits:
            lines.append(f"limits = {inline(tenant.limits)}")
        if tenant.revoke_before:
            lines.append(f"revoke_before = {tenant.revoke_before}")
        for persona, keys in tenant.personas.items():
            here = {"hosts": [self.host(persona, name)], "upstream": name, "app": "streamlit"}
            lines += [f"[tenants.{name}.personas.{persona}]", *table(here | keys)]
        if tenant.site_port:
            site = {"hosts": [f"{name}.shop.test"], "upstream": f"{name}-site", "embeds": list(tenant.personas)}
            lines += [f"[upstreams.{name}-site]", f'servers = ["http://127.0.0.1:{tenant.site_port}"]']
            lines += [f"[tenants.{name}.sites.www]", *table(site)]
        return lines


def table(keys: dict) -> list[str]:
    """TOML's texts, booleans and lists of texts are JSON's."""
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]


def inline(keys: dict) -> str:
    return "{ " + ", ".join(table(keys)) + " }"
