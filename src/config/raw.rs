//! What the user wrote, with positions and without behaviour: the one table of all keys.
//!
//! Each line of a `section!` is a key: its documentation, name, type, what holds without it, and
//! whether it is enforced. The types refuse malformed values; whether values fit together is
//! decided in `compile`. A key belongs here before it is read anywhere.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::addresses::{Host, Origin, PathSegment, RequestTarget, RoutePath};
use super::endpoints::{HttpUrl, RedisUrl, ServerUrl, TlsName};
use super::reader::{Map, Named, Read, Reading, Section, Table, section};
use super::scalars::{Count, Fraction};
use super::schema::{KeyInfo, REQUIRED, SectionInfo, Status};
use super::snapshot::{AppKind, HttpMode, Mode};
use super::source::{At, Spot};
use super::values::{
    AssertionAlgorithm, Balance, CspMode, FilePath, InjectionPersona, JwtAlgorithm, Line,
    LogTarget, Name, OnUnavailable, Protocol, Rate, Replay, SecretPattern, SecretRef, Size,
    Timeout, TlsVersion, UserId, UserIdFormat, UserIdsAs, VariableSource,
};
use crate::policy::front::compression::{Coding, MediaRange};
use crate::policy::metadata::Direction;
use crate::policy::session::UnixSeconds;

type List<T> = Vec<At<T>>;

section! {
    /// The whole file.
    Root {
        /// Files with one [tenants.X] each, X the file's name; `*` in the last part of the path.
        include: List<FilePath>, "none", Enforced;
        /// Listeners, workers and whom to believe.
        server: Table<Server>, "", Enforced;
        /// The listener for operators.
        admin: Table<Admin>, "", Enforced;
        /// The listener for the apps.
        internal: Table<Internal>, "", Enforced;
        /// Certificates.
        tls: Table<Tls>, "", Enforced;
        /// Logs, traces and metrics.
        telemetry: Table<Telemetry>, "", Enforced;
        /// What outlives a request, and what outlives the process.
        state: Table<State>, "in memory", Enforced;
        /// Named sets of servers.
        upstreams: Named<Upstream>, "none", Enforced;
        /// Organisations, each with its personas and sites.
        tenants: Named<Tenant>, "none", Enforced;
    }
}

section! {
    /// Listeners, workers and whom to believe.
    Server {
        /// Addresses of the TLS listeners.
        https: List<SocketAddr>, "none", Enforced;
        /// Addresses of the plain listeners.
        http: List<SocketAddr>, "none", Enforced;
        /// Redirect plain requests to https, or serve them behind a balancer that ended TLS.
        http_mode: HttpMode, "redirect", Enforced;
        /// Threads that serve.
        workers: Count<1, 1024>, "one per core", Enforced;
        /// Peers whose X-Forwarded-For and PROXY header are believed.
        trusted_proxies: List<IpNet>, "none", Enforced;
        /// Trusted peers open each connection with a PROXY protocol header.
        proxy_protocol: bool, "false", Enforced;
        /// How long open requests may go on after SIGTERM.
        drain_timeout: Duration, "60s", Enforced;
        /// Streams that are told to end do so one after the other, within this time.
        close_within: Duration, "10s", Enforced;
        /// Hosts that several tenants may share by path.
        shared_hosts: List<Host>, "none", Enforced;
        /// Sign sessions: the first; those after it verify what they signed before.
        session_secrets: List<SecretRef>, "random at each start", Enforced;
        /// Where an ACME client leaves its answers; served to plain requests before the redirect.
        acme_webroot: FilePath, "none", Enforced;
        /// Where a successor process finds this one, to take over from it.
        upgrade_socket: FilePath, "none", Enforced;
        /// Bounds on what one client may use.
        limits: Table<Limits>, "", Enforced;
        /// How answers are compressed, where a persona or site does not say.
        compression: Table<Compression>, "zstd, br and gzip", Enforced;
    }
}

section! {
    /// Bounds on what one client may use.
    Limits {
        /// For a whole request head, from its first byte.
        header_timeout: Timeout, "10s", Enforced;
        /// Of a request head, and of an upstream's response head.
        header_bytes: Size, "64KiB", Enforced;
        /// Between requests.
        idle_timeout: Timeout, "75s", Enforced;
        /// Open client connections.
        connections: Count<1, 10_000_000>, "20000", Enforced;
        /// Of bodies that a policy must read.
        form_bytes: Size, "2MiB", Enforced;
        /// Of any request body.
        body_bytes: Size, "200MiB", Enforced;
        /// Without progress of a body.
        body_timeout: Timeout, "30s", Enforced;
    }
}

section! {
    /// The listener for operators.
    Admin {
        /// Its address.
        listen: SocketAddr, "none", Enforced;
        /// Required where the address is not loopback.
        token: SecretRef, "none", Enforced;
    }
}

section! {
    /// The listener for the apps.
    Internal {
        /// Its address.
        listen: SocketAddr, "none", Enforced;
    }
}

section! {
    /// Certificates.
    Tls {
        /// Certificate chains and their keys; the names come from the certificates.
        certificates: List<Table<CertificateFiles>>, "none", Enforced;
        /// The oldest TLS version spoken.
        min_version: TlsVersion, "1.2", Enforced;
        /// Certificates from an ACME authority.
        acme: Table<Acme>, "none", NotYet;
    }
}

section! {
    /// One certificate.
    CertificateFiles {
        /// PEM file with the leaf first and its intermediates after it.
        cert: FilePath, REQUIRED, Enforced;
        /// PEM file with the private key.
        key: FilePath, REQUIRED, Enforced;
    }
}

section! {
    /// Certificates from an ACME authority.
    Acme {
        /// The authority's directory.
        directory: HttpUrl, REQUIRED, NotYet;
        /// Mail address for the authority's warnings.
        contact: Line, "none", NotYet;
        /// Folder for keys and certificates.
        storage: FilePath, REQUIRED, NotYet;
    }
}

section! {
    /// Logs, traces and metrics.
    Telemetry {
        /// Where traces and metrics go, as OTLP: gRPC where the port is 4317, else HTTP.
        otlp_endpoint: HttpUrl, "OTEL_EXPORTER_OTLP_ENDPOINT, else none", Enforced;
        /// The part of requests that is traced.
        sample_ratio: Fraction, "OTEL_TRACES_SAMPLER, else 0.01", Enforced;
        /// JSON lines: "stdout", "off" or a file.
        access_log: LogTarget, "stdout", Enforced;
        /// How the access log names users: "hash" tells them apart, "plain" says who they are.
        user_id: UserIdsAs, "hash", Enforced;
        /// Personas and sites with numbers of their own; more share their tenant's.
        persona_metrics: Count<1, 1_000_000>, "500", Enforced;
    }
}

section! {
    /// What outlives a request, and what outlives the process.
    State {
        /// Folder for what a later process needs, such as the last good files of tenants.
        folder: FilePath, "var", Enforced;
        /// Shared by several machines.
        redis: RedisUrl, "in memory", NotYet;
        /// What holds while Redis does not answer.
        on_unavailable: OnUnavailable, "local", NotYet;
    }
}

section! {
    /// A named set of servers.
    Upstream {
        /// http://, https:// or unix:/path.
        servers: List<ServerUrl>, REQUIRED, Enforced;
        /// How a server is chosen.
        balance: Balance, "round-robin", Enforced;
        /// What servers are spoken to in.
        protocol: Protocol, "http/1.1", Enforced;
        /// How a server is found to be well.
        health: Table<Health>, "none", Enforced;
        /// Which failures of requests take a server out for a while.
        ejection: Table<Ejection>, "after 5 failures", Enforced;
        /// How often another server is tried where nothing was sent.
        retries: Table<Retries>, "3 others", Enforced;
        /// Requests under way and open streams, all servers together.
        max_connections: Count<1, 10_000_000>, "no limit", Enforced;
        /// Requests that wait for a connection.
        max_pending: Count<1, 10_000_000>, "no limit", Enforced;
        /// How long a server that comes back gets less than its share.
        slow_start: Duration, "0s", Enforced;
        /// With a smaller percentage of servers usable, all are used.
        panic_threshold: Count<0, 100>, "0: only where none is", Enforced;
        /// How often names of servers are resolved.
        resolve_interval: Timeout, "10s", Enforced;
        /// To an open connection, TLS included.
        connect_timeout: Timeout, "2s", Enforced;
        /// To the first byte of a response; never applies to an open stream.
        response_timeout: Timeout, "60s", Enforced;
        /// For https:// servers.
        tls: Table<UpstreamTls>, "the system's authorities", Enforced;
    }
}

section! {
    /// For https:// servers.
    UpstreamTls {
        /// PEM file with the authorities that may have signed the server's certificate.
        ca: FilePath, "the system's authorities", Enforced;
        /// PEM file with the certificate that we show, its intermediates after it.
        cert: FilePath, "none", Enforced;
        /// PEM file with its private key.
        key: FilePath, "none", Enforced;
        /// The name in the server's certificate.
        server_name: TlsName, "the host of the server", Enforced;
    }
}

section! {
    /// How a server is found to be well.
    Health {
        /// What is asked for, and answered with 2xx.
        path: RequestTarget, "an open connection is enough", Enforced;
        /// How often.
        interval: Timeout, "5s", Enforced;
        /// For one check.
        timeout: Timeout, "2s", Enforced;
        /// Good checks in a row that bring a server back.
        healthy_threshold: Count<1, 1000>, "2", Enforced;
        /// Bad checks in a row that take a server out.
        unhealthy_threshold: Count<1, 1000>, "3", Enforced;
    }
}

section! {
    /// Which failures of requests take a server out for a while.
    Ejection {
        /// In a row; 0: none do.
        consecutive_failures: Count<0, 1000>, "5", Enforced;
        /// For how long, the first time.
        base_time: Timeout, "10s", Enforced;
        /// The longest time.
        max_time: Timeout, "5m", Enforced;
        /// The percentage of servers that may be out because of this.
        max_percent: Count<0, 100>, "50", Enforced;
    }
}

section! {
    /// How often another server is tried where nothing was sent.
    Retries {
        /// Others that one request may try.
        max: Count<0, 100>, "3", Enforced;
        /// Requests that may be trying, as a percentage of those under way.
        budget_percent: Count<0, 100>, "20", Enforced;
        /// So many may always.
        min_concurrency: Count<0, 100_000>, "10", Enforced;
    }
}

section! {
    /// An organisation.
    Tenant {
        /// What people call it.
        name: Line, "the tenant's key", Enforced;
        /// Origins whose pages may embed its personas.
        embed_origins: List<Origin>, "none", Enforced;
        /// How many launches and messages.
        limits: Table<TenantLimits>, "60/min an address, 200/min all", Enforced;
        /// Sessions of its personas that were launched before this moment have ended.
        revoke_before: UnixSeconds, "none", Enforced;
        /// What its own file may use.
        allow: Table<Allow>, "nothing", Enforced;
        /// For personas that have no signing of their own.
        signing: Table<Signing>, "none", Enforced;
        /// How identity is asserted to its apps.
        assertion: Table<Assertion>, "none; with [internal] listen: EdDSA, 60s", Enforced;
        /// Chat deployments.
        personas: Named<Persona>, "none", Enforced;
        /// Host pages.
        sites: Named<Site>, "none", Enforced;
    }
}

section! {
    /// How many launches and messages.
    TenantLimits {
        /// Of one address.
        ip: Rate, "60/min", Enforced;
        /// Of the whole tenant.
        tenant: Rate, "200/min", Enforced;
        /// Of one address at one persona.
        launcher: Rate, "none", Enforced;
    }
}

section! {
    /// What a tenant's own file may use.
    Allow {
        /// Names of upstreams.
        upstreams: List<Name>, "none", Enforced;
        /// References to secrets, and `${NAME}`; `*` stands for any characters.
        secrets: List<SecretPattern>, "none", Enforced;
        /// Folders of templates and whatever other files it names.
        folders: List<FilePath>, "none", Enforced;
    }
}

section! {
    /// One chat deployment.
    Persona {
        /// Where it answers.
        hosts: List<Host>, REQUIRED, Enforced;
        /// Below which path of its hosts.
        path: RoutePath, "/", Enforced;
        /// The page around the chat; its devices' below it.
        embed: RoutePath, "none", Enforced;
        /// What that page is.
        template: FilePath, "a plain page", Enforced;
        /// The name of an upstream.
        upstream: Name, REQUIRED, Enforced;
        /// What kind of app the upstream is.
        app: AppKind, "generic", Enforced;
        /// For whom it is.
        mode: Mode, "public", Enforced;
        /// Remove `path` before the upstream sees the request.
        strip_prefix: bool, "true", Enforced;
        /// Whether a launch needs a user.
        user_id: UserId, "none", Enforced;
        /// What a user id looks like.
        user_id_format: UserIdFormat, "integer for customer and employee, else token", Enforced;
        /// Make a user id where none came.
        allow_generated_id: bool, "false", Enforced;
        /// Accept that anyone can claim anything.
        trust_asserted: bool, "false", Enforced;
        /// Nothing behind a bare document opens until identity is complete.
        strict_config: bool, "false", Enforced;
        /// Answer the postMessage handshake on the app's behalf.
        bridge: bool, "false", Enforced;
        /// Its documents open only inside a page that embeds them.
        frame_only: bool, "false", Enforced;
        /// Its sessions that were launched before this moment have ended.
        revoke_before: UnixSeconds, "the tenant's", Enforced;
        /// A reload that changes who may open it, and as whom, ends what is open.
        revoke: bool, "false", Enforced;
        /// How the upstream's policy is extended.
        csp: Table<Csp>, "merge", Enforced;
        /// Which way pages of ours read, where the launch does not say.
        direction: Direction, "ltr", Enforced;
        /// Networks that may come; all, where none is named.
        allow_addresses: List<IpNet>, "all", Enforced;
        /// Networks that may not come, whatever else is said.
        deny_addresses: List<IpNet>, "none", Enforced;
        /// A name and a password before anything else.
        basic_auth: Table<BasicAuth>, "none", Enforced;
        /// Where old addresses lead.
        redirects: List<Table<Redirect>>, "none", Enforced;
        /// Header fields of all its answers.
        headers: Table<Headers>, "the app's", Enforced;
        /// Browsers come by https alone from then on.
        hsts: Table<Hsts>, "none", Enforced;
        /// How answers are compressed.
        compression: Table<Compression>, "the server's", Enforced;
        /// Launches must be signed.
        signed: bool, "false", Enforced;
        /// How launches are signed.
        signing: Table<Signing>, "the tenant's", Enforced;
        /// Keep `signature` in what is forwarded.
        forward_signature: bool, "false", Enforced;
        /// Launches may bring instructions and messages.
        injection: Table<Injection>, "not enabled", Enforced;
        /// What launches may bring to the app.
        variables: List<Table<Variable>>, "none", Enforced;
        /// A third path segment each.
        devices: Named<Device>, "none", Enforced;
        /// A page for trying it out.
        preview: Table<Preview>, "none", Enforced;
        /// Launches bring a token.
        jwt: Table<Jwt>, "none", NotYet;
        /// How identity is asserted to the app.
        assertion: Table<Assertion>, "the tenant's", Enforced;
    }
}

section! {
    /// How the upstream's Content-Security-Policy is extended.
    Csp {
        /// Merge, replace, or only report.
        mode: CspMode, "merge", Enforced;
    }
}

section! {
    /// A name and a password before anything else.
    BasicAuth {
        /// What browsers say that it is for.
        realm: Line, "the persona's name", Enforced;
        /// Lines as `htpasswd -B` writes them.
        users: SecretRef, REQUIRED, Enforced;
        /// The app sees the name and the password.
        forward: bool, "false", Enforced;
    }
}

section! {
    /// Where an old address leads.
    Redirect {
        /// A path below the persona's own; with `/*` at its end all paths below it.
        from: Line, REQUIRED, Enforced;
        /// A path below the persona's own, or an address elsewhere; with `/*` where `from` has it.
        to: Line, REQUIRED, Enforced;
        /// 301, 302, 303, 307 or 308.
        status: Count<301, 308>, "308", Enforced;
        /// Whether the query goes along.
        keep_query: bool, "true for a path, false for an address elsewhere", Enforced;
    }
}

section! {
    /// Header fields of answers.
    Headers {
        /// Take the place of the app's.
        set: Map<Line>, "none", Enforced;
        /// The app's do not pass.
        remove: List<Name>, "none", Enforced;
    }
}

section! {
    /// Browsers come by https alone from then on.
    Hsts {
        /// For so long after each answer.
        max_age: Duration, REQUIRED, Enforced;
        /// To hosts below this one, too.
        include_subdomains: bool, "false", Enforced;
        /// Browsers may ship with it.
        preload: bool, "false", Enforced;
    }
}

section! {
    /// How answers are compressed.
    Compression {
        /// Codings, the one that is liked best first; none: nothing is compressed.
        encodings: List<Coding>, "zstd, br, gzip", Enforced;
        /// Shorter answers pass as they are.
        min_bytes: Size, "1KiB", Enforced;
        /// Media types of answers; `*` stands for any type, subtype, or beginning of a subtype.
        types: List<MediaRange>, "text in all its forms, wasm, uncompressed fonts and images", Enforced;
    }
}

section! {
    /// How launches are signed.
    Signing {
        /// Any of these may have signed a launch.
        secrets: List<SecretRef>, REQUIRED, Enforced;
        /// How old a signature may be: 10s to 24h.
        max_age: Timeout, "5m", Enforced;
        /// Who may use a signature again.
        replay: Replay, "bind", Enforced;
        /// Parameters that are neither signed nor forwarded.
        ignore: List<Name>, "none", Enforced;
    }
}

section! {
    /// How identity is asserted to the app.
    Assertion {
        /// Of the signature.
        algorithm: AssertionAlgorithm, "EdDSA", Enforced;
        /// That signs.
        key: SecretRef, "for EdDSA: derived from the session secrets", Enforced;
        /// How long one is valid: 10s to 1h.
        ttl: Timeout, "60s", Enforced;
    }
}

section! {
    /// Launches may bring instructions and messages.
    Injection {
        /// Whether they may.
        enabled: bool, "false", Enforced;
        /// Whether the persona takes instructions at all.
        persona: InjectionPersona, "custom", Enforced;
    }
}

section! {
    /// Something that launches may bring to the app.
    Variable {
        /// Of the parameter.
        name: Name, REQUIRED, Enforced;
        /// Where it may come from.
        source: VariableSource, "query", Enforced;
        /// The longest value.
        max: Size, "2KiB", Enforced;
    }
}

section! {
    /// A third path segment.
    Device {
        /// What people call it.
        name: Line, "the segment", Enforced;
        /// The page around its chat.
        template: FilePath, "the persona's", Enforced;
    }
}

section! {
    /// A page for trying a persona out.
    Preview {
        /// Below `/embed/`.
        id: PathSegment, REQUIRED, Enforced;
        /// That opens it.
        token: SecretRef, REQUIRED, Enforced;
        /// The page around the chat.
        template: FilePath, "the persona's, or its devices'", Enforced;
    }
}

section! {
    /// Launches bring a token.
    Jwt {
        /// That signs tokens.
        secret: SecretRef, REQUIRED, NotYet;
        /// The only one that is accepted.
        algorithm: JwtAlgorithm, "HS256", NotYet;
    }
}

section! {
    /// A tenant's own host page, served through Vestibule.
    Site {
        /// Where it answers.
        hosts: List<Host>, REQUIRED, Enforced;
        /// The name of an upstream.
        upstream: Name, "none, with root", Enforced;
        /// A folder that is served in an upstream's place.
        root: FilePath, "none", Enforced;
        /// Folders that are served below these paths.
        folders: Map<FilePath>, "none", Enforced;
        /// Personas of the same tenant that its pages embed.
        embeds: List<Name>, "none", Enforced;
        /// Networks that may come; all, where none is named.
        allow_addresses: List<IpNet>, "all", Enforced;
        /// Networks that may not come, whatever else is said.
        deny_addresses: List<IpNet>, "none", Enforced;
        /// A name and a password before anything else.
        basic_auth: Table<BasicAuth>, "none", Enforced;
        /// Where old addresses lead.
        redirects: List<Table<Redirect>>, "none", Enforced;
        /// Header fields of all its answers.
        headers: Table<Headers>, "the app's", Enforced;
        /// Browsers come by https alone from then on.
        hsts: Table<Hsts>, "none", Enforced;
        /// How answers are compressed.
        compression: Table<Compression>, "the server's", Enforced;
    }
}
