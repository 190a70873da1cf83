//! Any head is admitted, redirected or refused, never a panic; and what is forwarded is one clean
//! request that says nothing in our name that the client made up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use vestibule::config::snapshot::{
    AccessLog, AdminSettings, AppKind, Device, HttpMode, InternalSettings, Limits, Mode, Persona,
    ServerSettings, Site, Snapshot, TelemetrySettings, TlsSettings, TlsVersion, Upstream,
};
use vestibule::edge::headers::{Outbound, write_request};
use vestibule::http1::fields::Known;
use vestibule::http1::framing::Framing;
use vestibule::http1::head::{HeadScan, RequestHead, Version};
use vestibule::pipeline::{Action, Ambient, ConnectionFacts, Handshake, Scheme};
use vestibule::policy::limits::{Moment, Rules};
use vestibule::policy::metadata::{MetadataPolicy, UserIdFormat, UserIdRule};
use vestibule::policy::origin::{OpaqueLaunch, OriginRules};
use vestibule::policy::secret::Secret;
use vestibule::policy::session::UnixSeconds;
use vestibule::policy::session::keys::{PersonaKeys, SessionSecrets};
use vestibule::route::{RouteTable, Target};
use vestibule::state::limits::Limiter;
use vestibule::state::parked::Parked;
use vestibule::state::replay::Replays;
use vestibule::state::sessions::Sessions;
use vestibule::telemetry::otlp::settings::OtlpSettings;
use vestibule::tls::store::CertStore;

use super::{MAX_INPUT, shown};

static SERVING: LazyLock<Snapshot> = LazyLock::new(|| snapshot(HttpMode::Serve));
static REDIRECTING: LazyLock<Snapshot> = LazyLock::new(|| snapshot(HttpMode::Redirect));

/// Takes `bytes` for a request head, over HTTP/1 and with the same fields over HTTP/2.
pub fn admit(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX_INPUT)];
    let Ok(Some(end)) = HeadScan::default().end(bytes) else { return };
    let mut head = RequestHead::default();
    if head.parse(&bytes[..end]).is_err() {
        return;
    }
    let mut http2 = RequestHead { version: Version::Http2, ..head.clone() };
    http2.authority = head
        .fields
        .get(Known::Host)
        .and_then(|host| Some(std::str::from_utf8(host).ok()?.to_owned()));
    http2.protocol = (head.method == http::Method::CONNECT).then(|| "websocket".to_owned());
    for head in [&head, &http2] {
        for snapshot in [&*SERVING, &*REDIRECTING] {
            for trusted in [false, true] {
                for (scheme, name) in
                    [(Scheme::Http, None), (Scheme::Https, None), (Scheme::Https, Some("a.test"))]
                {
                    let connection = ConnectionFacts {
                        client: IpAddr::from([192, 0, 2, 7]),
                        trusted,
                        scheme,
                        server_name: name.map(Into::into),
                    };
                    check(snapshot, &connection, head, bytes);
                }
            }
        }
    }
}

fn check(snapshot: &Snapshot, connection: &ConnectionFacts, head: &RequestHead, input: &[u8]) {
    let ambient = Ambient {
        now: UnixSeconds(1_763_683_200),
        moment: Moment::START,
        random: &|| [7; 16],
        is_ours: true,
        limiter: &Limiter::default(),
        sessions: &Sessions::default(),
        jars: &Arc::default(),
        replays: &Replays::default(),
        parked: &Parked::default(),
        passwords: &vestibule::state::passwords::Passwords::new(&[7; 32]),
        body: Some(b"mode=public"),
        journal: None,
    };
    let admission = vestibule::pipeline::admit(snapshot, connection, head, &ambient);
    let visible = |text: &str| text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    let forward = match admission.verdict {
        Err(_) | Ok(Action::Answer(_) | Action::File(_)) => return,
        Ok(
            Action::Redirect(location) | Action::SeeOther(location) | Action::Moved(_, location),
        ) => {
            let sound = location.starts_with('/') && !location.starts_with("//")
                || ["https://a.test/", "https://b.test/"].iter().any(|at| location.starts_with(at))
                || location.starts_with("https://") && location.contains(".wild.test/");
            assert!(sound && visible(&location), "{location:?}: {}", shown(input));
            return;
        }
        Ok(Action::Forward(forward)) => forward,
    };
    let address = admission.address.expect("what is forwarded has an address");
    let owner = admission.owner.expect("what is forwarded has an owner");
    let tenant = if &*address.host.name == "b.test" { "globex" } else { "acme" };
    assert_eq!(&**owner.tenant(), tenant, "{}", shown(input));
    assert!(forward.target.starts_with('/') && visible(&forward.target), "{}", shown(input));

    let mut wire = Vec::new();
    let connect = forward.websocket == Some(Handshake::Connect);
    let framing = write_request(
        &mut wire,
        &Outbound {
            head,
            address: &address,
            forward: &forward,
            connection,
            request_id: b"our-id",
            trace: None,
            websocket_key: connect.then_some("our-key"),
            cookies: None,
            xsrf: None,
        },
        |_| (),
    );
    check_wire(&wire, framing, &forward.target, input);
}

/// httparse instead of our own head: it takes more fields than a client may send.
fn check_wire(wire: &[u8], framing: Framing, target: &str, input: &[u8]) {
    let context = || format!("{}\nfrom {}", shown(wire), shown(input));
    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut lines);
    let parsed = request.parse(wire);
    assert_eq!(parsed, Ok(httparse::Status::Complete(wire.len())), "{}", context());
    assert_eq!(request.path, Some(target), "{}", context());
    let values = |name: &str| -> Vec<&[u8]> {
        let lines = request.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        lines.map(|line| line.value).collect()
    };
    assert_eq!(values("x-request-id"), [b"our-id"], "{}", context());
    for name in ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
        assert_eq!(values(name).len(), 1, "{name}: {}", context());
    }
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::Length(length) => {
            assert_eq!(lengths, [length.to_string().as_bytes()], "{}", context());
            assert!(codings.is_empty(), "{}", context());
        }
        Framing::Chunked => {
            assert_eq!((lengths.len(), &codings[..]), (0, &[&b"chunked"[..]][..]), "{}", context());
        }
        Framing::Empty | Framing::UntilClose => {
            assert!(lengths.is_empty() && codings.is_empty(), "{}", context());
        }
    }
    for line in request.headers.iter() {
        let known = Known::classify(line.name.as_bytes());
        let forbidden = matches!(known, Known::Disguised | Known::Proxy | Known::KeepAlive);
        assert!(!forbidden, "{}: {}", line.name, context());
        let lower = line.name.to_ascii_lowercase().replace('_', "-");
        if let Some(name) = lower.strip_prefix("x-vestibule-") {
            assert_eq!(known, Known::Identity, "{}: {}", line.name, context());
            assert_eq!(values(line.name).len(), 1, "{}: {}", line.name, context());
            let ours = match name {
                "tenant" => line.value == b"acme",
                "persona" => [&b"root"[..], b"nested", b"wild"].contains(&line.value),
                "device" => line.value == b"lobby",
                "mode" => line.value == b"public",
                "assurance" => line.value == b"asserted",
                // A hash of a session id that is made here from sevens.
                "session" => line.value.len() == 32,
                _ => false,
            };
            assert!(ours, "{}: {}", line.name, context());
        }
    }
}

fn snapshot(http_mode: HttpMode) -> Snapshot {
    let mut routes = RouteTable::default();
    let mut add = |host: &str, path: &str, target: Target| {
        routes.insert(host, path, target).expect("the addresses differ");
    };
    let root = persona("root", "a.test", "/");
    add("a.test", "/", Target::Persona(root));
    let nested = persona("nested", "a.test", "/chat/sales");
    add("a.test", "/chat/sales", Target::Persona(Arc::clone(&nested)));
    add("a.test", "/chat/sales/lobby", Target::Device(nested, 0));
    add("*.wild.test", "/", Target::Persona(persona("wild", "*.wild.test", "/")));
    let site = Site {
        tenant: "globex".into(),
        name: "home".into(),
        hosts: vec!["b.test".into()],
        upstream: upstream(),
        framing: vestibule::policy::csp::CompiledCsp::none(),
        meters: Default::default(),
        folders: Default::default(),
        front: Default::default(),
    };
    add("b.test", "/", Target::Site(Arc::new(site)));
    Snapshot {
        held_back: Vec::new(),
        written: Default::default(),
        server: ServerSettings {
            https: vec![],
            http: vec![],
            http_mode,
            workers: 1,
            trusted_proxies: vec![],
            proxy_protocol: false,
            acme_webroot: None,
            drain_timeout: Duration::ZERO,
            upgrade_socket: None,
            close_within: Duration::ZERO,
            limits: Limits::default(),
        },
        admin: AdminSettings { listen: None, token: None },
        internal: InternalSettings { listen: None },
        telemetry: TelemetrySettings {
            access_log: AccessLog::Off,
            user_ids: Default::default(),
            persona_metrics: 500,
            otlp: OtlpSettings::off(),
        },
        tls: TlsSettings { min_version: TlsVersion::Tls12 },
        certificates: CertStore::default(),
        routes,
        upstreams: HashMap::new(),
        tenants: HashMap::new(),
    }
}

fn session_keys(tenant: &str, persona: &str) -> PersonaKeys {
    let secret = Secret::new([7; 32]).expect("a secret");
    SessionSecrets::new(secret, Vec::new()).persona(tenant, persona)
}

fn persona(name: &str, host: &str, path: &str) -> Arc<Persona> {
    Arc::new(Persona {
        framing: vestibule::policy::csp::CompiledCsp::none(),
        host_config: None,
        bridge: None,
        metadata: MetadataPolicy {
            mode: Mode::Public,
            user_id: UserIdRule::None,
            format: UserIdFormat::Token,
            allow_generated_id: false,
            trust_asserted: false,
            strict_config: false,
            bridge: false,
            signed: false,
        },
        keys: session_keys("acme", name),
        revoked_before: None,
        revoke: false,
        origin: OriginRules { opaque_launch: OpaqueLaunch::Free, ..OriginRules::default() },
        rules: Arc::new(Rules::default()),
        assertion: None,
        injection: None,
        variables: Default::default(),
        signing: None,
        meters: Default::default(),
        front: Default::default(),
        tenant: "acme".into(),
        name: name.into(),
        hosts: vec![host.into()],
        path: path.into(),
        strip_prefix: true,
        upstream: upstream(),
        app: AppKind::Generic,
        mode: Mode::Public,
        shells: Default::default(),
        devices: vec![Device { slug: "lobby".into(), name: "Lobby".into() }],
    })
}

fn upstream() -> Arc<Upstream> {
    Arc::new(Upstream {
        name: "nowhere".into(),
        servers: vec![],
        connect_timeout: Duration::ZERO,
        policy: Default::default(),
        response_timeout: Duration::ZERO,
        meters: Default::default(),
    })
}
