use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::edge::ending::PATIENCE;
use crate::policy::session::{SessionId, UnixSeconds};
use crate::state::sessions::Sessions;

const ID: SessionId = SessionId([1; 16]);
const CLOSE: &[u8] = b"\x88\x0f\x03\xf0session ended";

/// A tunnel of a session between a stream and a socket that the test holds.
struct Case {
    sessions: Sessions,
    send: SendStream<Bytes>,
    recv: RecvStream,
    upstream: UnixStream,
    tunnel: JoinHandle<()>,
}

async fn case() -> Case {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let accepting = tokio::spawn(async move {
        let mut server = h2::server::handshake(far).await.unwrap();
        let accepted = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        accepted
    });
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(Method::POST).uri("https://chat.test/").body(());
    let mut client = client.ready().await.unwrap();
    let (response, send) = client.send_request(request.unwrap(), false).unwrap();
    let (request, mut respond) = accepting.await.unwrap();
    let answer = respond.send_response(Response::new(()), false).unwrap();
    let recv = response.await.unwrap().into_body();
    let sessions = Sessions::default();
    let guard = sessions.open("a", &Arc::from("chat"), ID, UnixSeconds(0));
    let (upstream, far) = UnixStream::pair().unwrap();
    let near = (request.into_body(), answer, Bytes::new());
    let tunnel = H2Tunnel::new(
        near,
        (Io::Unix(far), Vec::new()),
        Open { session: Some(guard), place: None },
        None,
    );
    Case { sessions, send, recv, upstream, tunnel: tokio::spawn(tunnel) }
}

impl Case {
    fn revoke(&self) {
        self.sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    }

    /// All data up to the stream's end; an error where it was reset.
    async fn rest_of_client(&mut self, until: &[u8]) -> Result<Vec<u8>, Option<Reason>> {
        let mut all = Vec::new();
        while let Some(data) = self.recv.data().await {
            let data = data.map_err(|error| error.reason())?;
            self.recv.flow_control().release_capacity(data.len()).unwrap();
            all.extend_from_slice(&data);
            if !until.is_empty() && all.ends_with(until) {
                break;
            }
        }
        Ok(all)
    }
}

#[tokio::test]
async fn the_frame_under_way_is_completed_and_both_sides_are_told() {
    let mut case = case().await;
    case.upstream.write_all(b"\x82\x05he").await.unwrap();
    assert_eq!(case.rest_of_client(b"he").await.unwrap(), b"\x82\x05he");
    case.revoke();
    tokio::time::sleep(Duration::from_millis(20)).await;
    case.upstream.write_all(b"llo\x82\x04next").await.unwrap();
    let seen = case.rest_of_client(CLOSE).await.unwrap();
    assert_eq!(seen, [b"llo", CLOSE].concat());
    // Nothing of this reaches the upstream.
    case.send.send_data(Bytes::from_static(b"\x82\x81maskx"), false).unwrap();
    let mut told = Vec::new();
    case.upstream.read_to_end(&mut told).await.unwrap();
    assert_eq!((&told[..2], told.len()), (&b"\x88\x82"[..], 8));
    case.send.send_data(Bytes::from_static(b"\x88\x80mask"), false).unwrap();
    assert_eq!(case.rest_of_client(b"").await, Ok(Vec::new()), "a clean end of the stream");
    drop(case.upstream);
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_does_not_end_is_cut_with_a_reset() {
    let mut case = case().await;
    case.upstream.write_all(b"\x82\x05he").await.unwrap();
    assert_eq!(case.rest_of_client(b"he").await.unwrap(), b"\x82\x05he");
    case.revoke();
    let start = Instant::now();
    assert_eq!(case.rest_of_client(b"").await, Err(Some(Reason::CANCEL)));
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_gets_a_proper_end_after_a_while() {
    let mut case = case().await;
    case.revoke();
    let start = Instant::now();
    assert_eq!(case.rest_of_client(CLOSE).await.unwrap(), CLOSE);
    assert_eq!(case.rest_of_client(b"").await, Ok(Vec::new()));
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    case.tunnel.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_window_stays_closed_is_cut_with_a_reset() {
    // In the frame, and where the window has no room for the Close.
    for length in [100_000_usize, 65_535 - 10] {
        let mut case = case().await;
        let mut frame = vec![0x82, 127];
        frame.extend_from_slice(&(length as u64).to_be_bytes());
        frame.resize(10 + length, 0x88);
        case.upstream.write_all(&frame).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        case.revoke();
        let start = Instant::now();
        (&mut case.tunnel).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs(), "{length}");
        assert_eq!(case.rest_of_client(b"").await, Err(Some(Reason::CANCEL)), "{length}");
    }
}

/// The end of the frame, and the next one, are in the piece that the window stops.
#[tokio::test(start_paused = true)]
async fn what_the_window_kept_back_is_cut_behind_its_frame() {
    let mut case = case().await;
    let mut wire = vec![0x82, 127];
    wire.extend_from_slice(&66_000_u64.to_be_bytes());
    wire.resize(10 + 66_000, 0x88);
    wire.extend_from_slice(b"\x82\x04next");
    for part in [&wire[..1_000], &wire[1_000..]] {
        case.upstream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    case.revoke();
    let seen = case.rest_of_client(CLOSE).await.unwrap();
    assert!(seen == [&wire[..10 + 66_000], CLOSE].concat(), "{}", seen.len());
}

/// Its Close comes behind a message that is longer than the window.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_does_not_keep_the_client() {
    let Case { sessions, mut send, mut recv, upstream, tunnel } = case().await;
    let head = [&[0x82, 0xff], &3_000_000_u64.to_be_bytes()[..]].concat();
    let mut wire = Bytes::from([&head[..], &[0; 3_000_004], b"\x88\x80mask"].concat());
    let saying = tokio::spawn(async move {
        while !wire.is_empty() {
            send.reserve_capacity(wire.len());
            let ready = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
            let part = wire.split_to(ready.unwrap().unwrap());
            send.send_data(part, false).unwrap();
        }
        send
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
    assert_eq!(recv.data().await.unwrap().unwrap(), CLOSE);
    assert!(recv.data().await.is_none_or(|end| end.unwrap().is_empty()));
    assert_eq!(start.elapsed().as_secs(), 0);
    saying.await.unwrap();
    drop(upstream);
    tunnel.await.unwrap();
}

/// The client's window is smaller than what is on its way.
#[tokio::test]
async fn whatever_is_under_way_the_client_gets_whole_frames_and_a_close() {
    for round in 0..10_usize {
        let mut case = case().await;
        let length = 30_000 + round * 20_011;
        let mut frame = vec![0x82, 127];
        frame.extend_from_slice(&(length as u64).to_be_bytes());
        frame.resize(10 + length, 0x88);
        let (read, mut write) = case.upstream.into_split();
        let flood = tokio::spawn(async move { while write.write_all(&frame).await.is_ok() {} });
        let first = case.recv.data().await.unwrap().unwrap();
        case.sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        case.recv.flow_control().release_capacity(first.len()).unwrap();
        let mut wire = first.to_vec();
        while !wire.ends_with(CLOSE) {
            let data = case.recv.data().await.expect("there is a Close first").unwrap();
            case.recv.flow_control().release_capacity(data.len()).unwrap();
            wire.extend_from_slice(&data);
        }
        assert_eq!((wire.len() - CLOSE.len()) % (10 + length), 0, "{round}");
        case.send.send_data(Bytes::new(), true).unwrap();
        case.tunnel.await.unwrap();
        drop(read);
        flood.await.unwrap();
    }
}

#[test]
fn an_idle_tunnel_is_small() {
    assert!(size_of::<H2Tunnel>() <= 184, "{}", size_of::<H2Tunnel>());
}
