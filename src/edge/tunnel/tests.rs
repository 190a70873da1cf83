use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::edge::ending::PATIENCE;
use crate::net::io::Records;
use crate::policy::session::{SessionId, UnixSeconds};
use crate::state::sessions::{Sessions, StreamGuard};
use crate::tls::dev::DevCa;

const ID: SessionId = SessionId([1; 16]);
const CLOSE: &[u8] = b"\x88\x0f\x03\xf0session ended";

/// A tunnel of a session between two sockets that the test holds.
struct Case {
    sessions: Sessions,
    client: UnixStream,
    upstream: UnixStream,
    tunnel: JoinHandle<()>,
}

fn of(guard: StreamGuard) -> Open {
    Open { session: Some(guard), place: None }
}

fn case() -> Case {
    let sessions = Sessions::default();
    let guard = sessions.open("a", &Arc::from("chat"), ID, UnixSeconds(0));
    let (client, near) = UnixStream::pair().unwrap();
    let (upstream, far) = UnixStream::pair().unwrap();
    let near = (Io::Unix(near), Vec::new());
    let tunnel = Tunnel::new(near, (Io::Unix(far), Vec::new()), of(guard), None);
    Case { sessions, client, upstream, tunnel: tokio::spawn(tunnel) }
}

impl Case {
    fn revoke(&self) {
        self.sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    }

    async fn client_gets(&mut self, expected: &[u8]) {
        let mut seen = vec![0; expected.len()];
        self.client.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    async fn upstream_gets(&mut self, expected: &[u8]) {
        let mut seen = vec![0; expected.len()];
        self.upstream.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    async fn rest_of_client(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.unwrap();
        rest
    }

    /// Reads the upstream to its end: whether there was a proper masked Close 1001, and no more.
    async fn upstream_is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.upstream.read_to_end(&mut rest).await.unwrap();
        match rest[..] {
            [] => false,
            [0x88, 0x82, a, b, _, _, high, low] => {
                assert_eq!([high ^ a, low ^ b], 1001_u16.to_be_bytes());
                true
            }
            _ => panic!("{}", rest.escape_ascii()),
        }
    }
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    [&head[..], payload].concat()
}

#[tokio::test]
async fn between_two_frames_both_sides_are_told_at_once() {
    let mut case = case();
    case.upstream.write_all(b"\x82\x02hi").await.unwrap();
    case.client_gets(b"\x82\x02hi").await;
    case.client.write_all(&masked(2, b"yes")).await.unwrap();
    case.upstream_gets(&masked(2, b"yes")).await;
    case.revoke();
    case.client_gets(CLOSE).await;
    // Of what the client says now nothing is passed.
    case.client.write_all(&masked(2, b"more")).await.unwrap();
    assert!(case.upstream_is_closed().await);
    case.client.write_all(&masked(8, b"\x03\xf0")).await.unwrap();
    assert_eq!(case.rest_of_client().await, b"");
    drop(case.upstream);
    case.tunnel.await.unwrap();
    assert_eq!(case.sessions.open_streams(), 0);
}

#[tokio::test]
async fn the_frame_under_way_is_completed_and_the_next_is_not_passed() {
    let mut case = case();
    case.upstream.write_all(b"\x82\x7e\x00\x05he").await.unwrap();
    case.client_gets(b"\x82\x7e\x00\x05he").await;
    case.revoke();
    tokio::time::sleep(Duration::from_millis(20)).await;
    case.upstream.write_all(b"l").await.unwrap();
    case.upstream.write_all(b"lo\x82\x04next").await.unwrap();
    case.client_gets(b"llo").await;
    case.client_gets(CLOSE).await;
    assert!(case.upstream_is_closed().await);
    drop(case.client);
    drop(case.upstream);
    case.tunnel.await.unwrap();
}

#[tokio::test]
async fn an_upstream_in_the_middle_of_a_frame_is_just_left() {
    let mut case = case();
    case.client.write_all(&masked(2, b"yes")[..7]).await.unwrap();
    case.upstream_gets(&masked(2, b"yes")[..7]).await;
    case.revoke();
    case.client_gets(CLOSE).await;
    assert!(!case.upstream_is_closed().await);
    // The client finishes its frame and answers.
    case.client.write_all(b"es").await.unwrap();
    case.client.write_all(&masked(8, b"")).await.unwrap();
    assert_eq!(case.rest_of_client().await, b"");
    drop(case.upstream);
    case.tunnel.await.unwrap();
}

#[tokio::test]
async fn who_has_said_close_is_not_told_again() {
    let mut case = case();
    case.upstream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    case.client_gets(b"\x88\x02\x03\xe8").await;
    case.client.write_all(&masked(8, b"\x03\xe8")).await.unwrap();
    case.upstream_gets(&masked(8, b"\x03\xe8")).await;
    case.revoke();
    assert_eq!(case.rest_of_client().await, b"");
    assert!(!case.upstream_is_closed().await);
    drop(case.upstream);
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_does_not_end_is_cut_without_a_close() {
    let mut case = case();
    case.upstream.write_all(b"\x82\x05he").await.unwrap();
    case.client_gets(b"\x82\x05he").await;
    case.revoke();
    let start = Instant::now();
    assert_eq!(case.rest_of_client().await, b"");
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(!case.upstream_is_closed().await);
}

#[tokio::test]
async fn an_upstream_that_ends_in_its_frame_cuts_it() {
    let mut case = case();
    case.upstream.write_all(b"\x82\x05he").await.unwrap();
    case.client_gets(b"\x82\x05he").await;
    case.revoke();
    drop(case.upstream);
    let mut rest = Vec::new();
    // A reset or an end, as it happens.
    let _ = case.client.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_is_left_after_a_while() {
    let mut case = case();
    case.revoke();
    let start = Instant::now();
    assert_eq!(case.rest_of_client().await, CLOSE);
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(case.upstream_is_closed().await);
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_left_after_a_while() {
    let case = case();
    let Case { sessions, client, upstream, tunnel } = case;
    let (_, mut write) = upstream.into_split();
    let flood = tokio::spawn(async move { while write.write_all(&[0x82, 0]).await.is_ok() {} });
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    tunnel.await.unwrap();
    assert!(start.elapsed() <= PATIENCE * 2, "{:?}", start.elapsed());
    flood.await.unwrap();
    drop(client);
}

#[tokio::test]
async fn whatever_is_under_way_the_client_gets_whole_frames_and_a_close() {
    for round in 0..30_usize {
        let mut case = case();
        let (read, mut write) = case.upstream.into_split();
        let flood = tokio::spawn(async move {
            for number in 0.. {
                let length = (number * 7919 + round * 13) % 70_000;
                let mut frame = vec![0x82, 127];
                frame.extend_from_slice(&(length as u64).to_be_bytes());
                frame.resize(10 + length, 0x88);
                if write.write_all(&frame).await.is_err() {
                    return;
                }
            }
        });
        let mut wire = vec![0; 1 + round * 40_000];
        case.client.read_exact(&mut wire).await.unwrap();
        case.sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
        loop {
            let mut more = [0; 4096];
            let count = case.client.read(&mut more).await.unwrap();
            wire.extend_from_slice(&more[..count]);
            if wire.ends_with(CLOSE) {
                break;
            }
            assert!(count > 0, "{round}: no Close");
        }
        let mut frames = Frames::default();
        frames.pass(&wire[..wire.len() - CLOSE.len()]);
        assert!(frames.at_boundary(), "{round}");
        drop((case.client, read));
        case.tunnel.await.unwrap();
        flood.await.unwrap();
    }
}

/// Its Close comes behind a message that the upstream did not take.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_does_not_keep_the_client() {
    let Case { sessions, client, upstream, tunnel } = case();
    let head = [&[0x82, 0xff], &3_000_000_u64.to_be_bytes()[..]].concat();
    let wire = [&head[..], &[0; 3_000_004], &masked(8, b"")].concat();
    let (mut reading, mut writing) = client.into_split();
    let saying = tokio::spawn(async move {
        writing.write_all(&wire).await.unwrap();
        writing
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    let mut heard = Vec::new();
    reading.read_to_end(&mut heard).await.unwrap();
    assert_eq!((&heard[..], start.elapsed().as_secs()), (CLOSE, 0));
    saying.await.unwrap();
    drop(upstream);
    tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn through_tls_the_end_is_a_proper_one() {
    let (near, far) = UnixStream::pair().unwrap();
    let (mut client, ours) = tls(near, far).await;
    let sessions = Sessions::default();
    let guard = sessions.open("a", &Arc::from("chat"), ID, UnixSeconds(0));
    let (mut upstream, theirs) = UnixStream::pair().unwrap();
    let (ours, theirs) = ((Io::UnixTls(ours), Vec::new()), (Io::Unix(theirs), Vec::new()));
    let tunnel = tokio::spawn(Tunnel::new(ours, theirs, of(guard), None));
    let mut long = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0];
    long.resize(10 + 100_000, 0x88);
    upstream.write_all(&long[..50_001]).await.unwrap();
    let mut read = vec![0; 50_001];
    client.read_exact(&mut read).await.unwrap();
    sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    upstream.write_all(&long[50_001..]).await.unwrap();
    read.resize(long.len() + CLOSE.len(), 0);
    client.read_exact(&mut read[50_001..]).await.unwrap();
    assert!(read == [&long, CLOSE].concat());
    client.write_all(&masked(8, b"\x03\xf0")).await.unwrap();
    client.flush().await.unwrap();
    // An end without close_notify would be an error.
    assert_eq!(client.read(&mut read).await.unwrap(), 0);
    drop((client, upstream));
    tunnel.await.unwrap();
}

/// TLS between two sockets: the client's side and ours.
async fn tls(
    near: UnixStream,
    far: UnixStream,
) -> (tokio_rustls::client::TlsStream<UnixStream>, Box<tokio_rustls::TlsStream<Records<UnixStream>>>)
{
    let ca = DevCa::generate().unwrap();
    let leaf = ca.issue(&["chat.test"]).unwrap();
    let chain = CertificateDer::pem_slice_iter(leaf.cert_chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (client, server) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect("chat.test".try_into().unwrap(), near),
        TlsAcceptor::from(Arc::new(server)).accept(Records(far)),
    );
    (client.unwrap(), Box::new(server.unwrap().into()))
}

#[tokio::test]
async fn without_a_session_nothing_ends_a_tunnel() {
    let (mut client, near) = UnixStream::pair().unwrap();
    let (mut upstream, far) = UnixStream::pair().unwrap();
    let near = (Io::Unix(near), b"early".to_vec());
    let tunnel =
        tokio::spawn(Tunnel::new(near, (Io::Unix(far), Vec::new()), Open::default(), None));
    let mut seen = [0; 5];
    upstream.read_exact(&mut seen).await.unwrap();
    upstream.write_all(b"not a frame at all").await.unwrap();
    drop(upstream);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!((&seen[..], &rest[..]), (&b"early"[..], &b"not a frame at all"[..]));
    drop(client);
    tunnel.await.unwrap();
}

#[test]
fn an_idle_tunnel_is_small() {
    assert!(size_of::<Tunnel>() <= 176, "{}", size_of::<Tunnel>());
    assert!(size_of::<Watch>() <= 80, "{}", size_of::<Watch>());
}
