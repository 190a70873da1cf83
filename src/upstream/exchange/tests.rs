//! What joins a response body, over a real connection, however both sides cut it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::http1::fields::Fields;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, ResponseHead};
use crate::net::io::Io;
use crate::upstream::connection::Connection;
use crate::upstream::member::MemberId;

const TAG: &str = "<script src=x></script>";
const DOCUMENT: &str = "<!doctype html><html><head lang='>'><title>t</title></head></html>";
const SPLICED: &str =
    "<!doctype html><html><head lang='>'><script src=x></script><title>t</title></head></html>";

/// A client that takes little at a time, and holds its caller to going on where it stopped.
#[derive(Default)]
struct Slow {
    head: RequestHead,
    tag: Option<Arc<[u8]>>,
    most: usize,
    is_busy: bool,
    /// What was offered and not taken.
    owed: Vec<u8>,
    framing: Option<Framing>,
    body: Vec<u8>,
    trailers: Option<usize>,
    none: Fields,
}

impl Client for Slow {
    fn request(&self) -> &RequestHead {
        &self.head
    }

    fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Incoming<'_>, ClientError>> {
        Poll::Ready(Ok(Incoming::End(&self.none)))
    }

    fn consume(&mut self, _: usize) {}

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim(&mut self, _: &ResponseHead) -> io::Result<()> {
        Ok(())
    }

    fn splice(&mut self, _: &ResponseHead) -> Option<Splice> {
        self.tag.clone().map(Splice::new)
    }

    fn send_head(&mut self, _: &ResponseHead, framing: Framing) -> io::Result<()> {
        self.framing = Some(framing);
        Ok(())
    }

    fn send_switch(&mut self, _: &ResponseHead) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let same = self.owed.len().min(data.len());
        assert_eq!(self.owed[..same], data[..same], "it goes on where it stopped");
        if self.owed.len() < data.len() {
            self.owed = data.to_vec();
        }
        self.is_busy = !self.is_busy;
        if self.is_busy {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = data.len().min(self.most);
        self.body.extend(self.owed.drain(..count));
        Poll::Ready(Ok(count))
    }

    fn end(&mut self, trailers: &Fields) -> io::Result<()> {
        assert!(self.owed.is_empty());
        self.trailers = Some(trailers.len());
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Passes the answer that arrives in these pieces; what became of it, and of the tally.
async fn pass(mut client: Slow, pieces: &[&[u8]]) -> (Slow, Tally) {
    let (mut server, ours) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(Io::Unix(ours), MemberId(0));
    let (limits, upgrade) = (Limits::default(), Upgrade::None);
    let (mut tally, mut deadline) = (Tally::default(), Deadline::default());
    let timeout = Duration::from_secs(60);
    let mut exchange =
        Exchange::new(&mut client, &mut connection, &limits, timeout, &upgrade, &mut tally);
    let mut result = None;
    for piece in pieces {
        server.write_all(piece).await.unwrap();
        // Everything of this piece is read and passed before the next one is written.
        for _ in 0..400 {
            if result.is_none() {
                result = poll_fn(|cx| match exchange.poll(cx, &mut deadline) {
                    Poll::Pending => Poll::Ready(None),
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                })
                .await;
            }
            tokio::task::yield_now().await;
        }
    }
    server.shutdown().await.unwrap();
    let result = match result {
        Some(result) => result,
        None => poll_fn(|cx| exchange.poll(cx, &mut deadline)).await,
    };
    assert!(matches!(result, Ok(Done::Complete { .. })), "{result:?}");
    (client, tally)
}

fn client(most: usize) -> Slow {
    Slow { tag: Some(TAG.as_bytes().into()), most, ..Slow::default() }
}

/// The document in chunks that are cut at `at`.
fn chunked(at: usize) -> String {
    let (first, second) = DOCUMENT.split_at(at);
    let chunk = |text: &str| match text.len() {
        0 => String::new(),
        len => format!("{len:x}\r\n{text}\r\n"),
    };
    format!("{}{}0\r\nX-Sum: 7\r\n\r\n", chunk(first), chunk(second))
}

async fn check(wire: &str, cuts: impl Iterator<Item = usize>, framing: Framing, trailers: usize) {
    for cut in cuts {
        let (first, second) = wire.as_bytes().split_at(cut);
        for most in [3, usize::MAX] {
            let (client, tally) = pass(client(most), &[first, second]).await;
            assert_eq!(String::from_utf8_lossy(&client.body), SPLICED, "cut at {cut}, {most}");
            assert_eq!(client.framing, Some(framing));
            assert_eq!(client.trailers, Some(trailers));
            assert_eq!(tally.response_bytes, SPLICED.len() as u64);
        }
    }
}

#[tokio::test]
async fn the_tag_joins_a_body_of_known_length() {
    let wire = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{DOCUMENT}", DOCUMENT.len());
    let whole = wire.len();
    check(&wire, 0..=whole, Framing::Length(SPLICED.len() as u64), 0).await;
}

#[tokio::test]
async fn the_tag_joins_a_chunked_body_and_the_trailers_stay() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for at in 0..=DOCUMENT.len() {
        let wire = format!("{head}{}", chunked(at));
        check(&wire, std::iter::once(wire.len()), Framing::Chunked, 1).await;
    }
    let wire = format!("{head}{}", chunked(30));
    check(&wire, head.len()..=wire.len(), Framing::Chunked, 1).await;
}

#[tokio::test]
async fn the_tag_joins_a_body_that_ends_with_the_connection() {
    let wire = format!("HTTP/1.0 200 OK\r\n\r\n{DOCUMENT}");
    check(&wire, [0, 19, 40, wire.len()].into_iter(), Framing::UntilClose, 0).await;
}

#[tokio::test]
async fn a_body_without_a_head_gets_the_tag_at_its_end() {
    let wire = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<he\r\n0\r\nA: 1\r\n\r\n";
    for most in [1, 100] {
        let (client, tally) = pass(client(most), &[wire.as_bytes()]).await;
        assert_eq!(String::from_utf8_lossy(&client.body), format!("{TAG}<he"));
        assert_eq!((client.trailers, tally.response_bytes), (Some(1), TAG.len() as u64 + 3));
    }
}

#[tokio::test]
async fn what_does_not_fit_and_what_is_not_asked_for_passes_as_it_is() {
    for (head, body) in [
        ("206 Partial Content\r\nContent-Length: 6\r\n", "<head>"),
        ("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n", "<head>"),
        ("204 No Content\r\n", ""),
        ("304 Not Modified\r\nContent-Length: 6\r\n", ""),
        ("200 OK\r\nContent-Length: 0\r\n", ""),
    ] {
        let wire = format!("HTTP/1.1 {head}\r\n{body}");
        let (client, tally) = pass(client(100), &[wire.as_bytes()]).await;
        assert_eq!(client.body, body.as_bytes(), "{head}");
        assert_eq!(tally.response_bytes, body.len() as u64);
    }
    let mut asks_head = client(100);
    asks_head.head.method = Method::HEAD;
    let (client, _) = pass(asks_head, &[b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"]).await;
    assert_eq!((client.framing, client.body.len()), (Some(Framing::Empty), 0));
    let unasked = Slow { most: 100, ..Slow::default() };
    let (client, _) = pass(unasked, &[b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<head>"]).await;
    assert_eq!((client.framing, client.body), (Some(Framing::Length(6)), b"<head>".to_vec()));
}

#[test]
fn only_what_may_end_anywhere_is_an_event_stream() {
    for (fields, expected) in [
        ("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", true),
        ("Content-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n", true),
        ("Content-Type: text/event-stream\r\n", true),
        ("Content-Type: text/event-stream\r\nContent-Length: 9\r\n", false),
        ("Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", false),
        ("Content-Type: text/event-streams\r\n", false),
        ("Content-Type: text/plain; x=text/event-stream\r\n", false),
        ("Content-Type: text/event-stream\r\nContent-Type: text/plain\r\n", false),
        ("Transfer-Encoding: chunked\r\n", false),
    ] {
        let mut head = ResponseHead::default();
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        head.parse(text.as_bytes(), &Method::GET).unwrap();
        assert_eq!(is_event_stream(&head), expected, "{fields}");
    }
}
