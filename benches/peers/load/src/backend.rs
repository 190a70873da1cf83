//! The backend that every proxy forwards to: plain HTTP/1.1, keep-alive, as fast as one thread goes.
//!
//! It reads request heads only; no case sends a body. It is a bench tool on loopback and must never
//! be shown to a stranger: it does not defend itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::args::{Args, Result};
use crate::client::{FILL, accept_key};

const MAX_HEAD: usize = 64 * 1024;

/// Requests of OTLP that arrived: the backend is a collector, too, which keeps nothing.
static TRACES: AtomicU64 = AtomicU64::new(0);
static METRICS: AtomicU64 = AtomicU64::new(0);

/// Every event is this long, so that a client can cut the stream without looking for newlines.
pub const EVENT_BYTES: usize = 100;

struct Answers {
    k1: Vec<u8>,
    page: Vec<u8>,
    k64: Vec<u8>,
    m10: Vec<u8>,
}

pub async fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(args.get::<String>("listen")?).await?;
    println!("{{\"event\":\"ready\",\"addr\":\"{}\"}}", listener.local_addr()?);
    let answers: &'static Answers = Box::leak(Box::new(Answers {
        k1: full_answer(1024),
        page: page(1024),
        k64: full_answer(64 * 1024),
        m10: full_answer(10 * 1024 * 1024),
    }));
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that breaks is the client's to report.
        tokio::spawn(async move { serve(stream, answers).await.ok() });
    }
}

fn full_answer(bytes: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + bytes, FILL);
    answer
}

/// A page with a policy of its own, as apps send it.
fn page(bytes: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Security-Policy: default-src 'self'; img-src * data:; frame-ancestors 'none'; \
         script-src 'self'\r\nX-Frame-Options: DENY\r\nContent-Length: {bytes}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + bytes, FILL);
    answer
}

async fn serve(mut stream: TcpStream, answers: &'static Answers) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if buffer.len() > MAX_HEAD || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/" | "/1k" => stream.write_all(&answers.k1).await?,
            "/seen" => {
                let length = head.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
                stream.write_all(answer.as_bytes()).await?;
            }
            "/signed/" => stream.write_all(&answers.page).await?,
            "/64k" => stream.write_all(&answers.k64).await?,
            "/10m" => stream.write_all(&answers.m10).await?,
            "/sse" => {
                let (events, interval) = (number(query, "n")?, number(query, "interval_us")?);
                send_events(&mut stream, events, Duration::from_micros(interval)).await?;
            }
            "/v1/traces" | "/v1/metrics" => {
                let length = header(head, "content-length").unwrap_or("0").parse::<usize>()?;
                let told = if path == "/v1/traces" { &TRACES } else { &METRICS };
                told.fetch_add(1, Ordering::Relaxed);
                while buffer.len() < end + length {
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
                buffer.drain(..length);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
            }
            "/told" => {
                let told = [&TRACES, &METRICS].map(|count| count.load(Ordering::Relaxed));
                let body = format!("{{\"traces\":{},\"metrics\":{}}}", told[0], told[1]);
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await?;
            }
            "/ws" => {
                let key = header(head, "sec-websocket-key").ok_or("no Sec-WebSocket-Key")?;
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                    accept_key(key)
                );
                stream.write_all(answer.as_bytes()).await?;
                buffer.drain(..end);
                return echo(stream, buffer).await;
            }
            _ => {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
            }
        }
        buffer.drain(..end);
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find_map(|(n, value)| n.eq_ignore_ascii_case(name).then(|| value.trim()))
}

fn number(query: &str, name: &str) -> Result<u64> {
    let value = query.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name);
    Ok(value.ok_or_else(|| format!("query without {name}"))?.1.parse()?)
}

/// One event a tick, each in a chunk and a write of its own, as a chat API streams tokens.
async fn send_events(stream: &mut TcpStream, events: u64, interval: Duration) -> Result<()> {
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )
        .await?;
    // tokio's timer counts whole milliseconds; a shorter interval means: as fast as it goes.
    let mut ticks = (interval >= Duration::from_millis(1)).then(|| {
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    for sequence in 0..events {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let sent = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let mut event = format!("{EVENT_BYTES:x}\r\ndata: {sequence:010} {sent:020} ").into_bytes();
        let prefix = event.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        event.resize(prefix + EVENT_BYTES - 2, FILL);
        event.extend_from_slice(b"\n\n\r\n");
        stream.write_all(&event).await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

/// Sends each frame back unmasked. Control frames too: a close is answered with itself.
async fn echo(mut stream: TcpStream, mut buffer: Vec<u8>) -> Result<()> {
    let mut out = Vec::with_capacity(4096);
    loop {
        let mut used = 0;
        while let Some(length) = echo_frame(&buffer[used..], &mut out)? {
            used += length;
        }
        buffer.drain(..used);
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Appends the answer to the first frame of `bytes`; the frame's length, or none if it is not whole.
fn echo_frame(bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>> {
    if bytes.len() < 6 {
        return Ok(None);
    }
    let length = usize::from(bytes[1] & 0x7f);
    if bytes[1] & 0x80 == 0 || length > 125 {
        return Err("a frame without mask, or longer than the cases send".into());
    }
    if bytes.len() < 6 + length {
        return Ok(None);
    }
    out.extend_from_slice(&[bytes[0], bytes[1] & 0x7f]);
    let payload = &bytes[6..6 + length];
    out.extend(payload.iter().zip(bytes[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(Some(6 + length))
}
