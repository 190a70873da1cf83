//! Streams of server-sent events: every event counted, in order, with the time it took to arrive.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use crate::args::{Args, Result};
use crate::backend::EVENT_BYTES;
use crate::client::{Head, PATIENCE, Stream, Target, Tickets, patiently};
use crate::report::{Tally, pause};

pub async fn run(args: &Args) -> Result<()> {
    let target = Target::from_args(args)?;
    let connector = target.connector(Tickets::Refused)?;
    let events: u64 = args.get("events")?;
    let interval = Duration::from_micros(args.get("interval-us")?);
    let mut streams = Vec::new();
    for _ in 0..args.get::<u32>("connections")? {
        streams.push(patiently("a handshake", target.connect(&connector)).await?);
    }
    pause("{\"event\":\"ready\"}")?;

    let tally = Rc::new(Tally::default());
    let delays = Rc::new(RefCell::new(Vec::new()));
    let started = Instant::now();
    let tasks = LocalSet::new();
    let mut handles = Vec::new();
    let count = streams.len() as u32;
    for (number, mut stream) in streams.into_iter().enumerate() {
        let (tally, delays, host) = (tally.clone(), delays.clone(), target.authority.clone());
        handles.push(tasks.spawn_local(async move {
            // Spread over one interval: in step, every proxy would see one burst a tick.
            tokio::time::sleep(interval * number as u32 / count).await;
            match receive(&mut stream, &host, events, interval, &tally, &delays).await {
                Ok(()) => {}
                Err(error) => tally.fail(error),
            }
            stream
        }));
    }
    let span = interval * u32::try_from(events)?;
    if tokio::time::timeout(2 * span + PATIENCE, tasks).await.is_err() {
        tally.fail("a stream never ended");
    }
    let (ok, failed, seconds) =
        (tally.ok.get(), tally.failed.get(), started.elapsed().as_secs_f64());
    let (p50, p99) = percentiles(&mut delays.borrow_mut());
    // Ten times the interval: a proxy that holds events back does not stream them.
    if p50 > 10 * interval.as_micros() as u64 {
        tally.fail(format!("half the events were held back for over {p50} microseconds"));
    }
    pause(&format!(
        "{{\"event\":\"done\",\"ok\":{ok},\"failed\":{failed},\"seconds\":{seconds:.3},\
         \"delay_us_p50\":{p50},\"delay_us_p99\":{p99}}}"
    ))?;
    drop(handles);
    tally.verdict()
}

fn percentiles(delays: &mut [u64]) -> (u64, u64) {
    delays.sort_unstable();
    let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

async fn receive(
    stream: &mut Stream,
    host: &str,
    events: u64,
    interval: Duration,
    tally: &Tally,
    delays: &RefCell<Vec<u64>>,
) -> Result<()> {
    let request = format!(
        "GET /sse?n={events}&interval_us={} HTTP/1.1\r\nHost: {host}\r\n\
         Accept: text/event-stream\r\n\r\n",
        interval.as_micros()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Head::read(stream).await?;
    head.expect(200)?;
    let chunked =
        head.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    if !chunked {
        return Err("an event stream that is not chunked".into());
    }
    let mut chunks = Chunks::default();
    let mut body = Vec::new();
    let mut raw = std::mem::take(&mut head.rest);
    let mut expected = 0;
    loop {
        let ended = chunks.decode(&mut raw, &mut body)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        let whole = body.len() / EVENT_BYTES * EVENT_BYTES;
        for event in body[..whole].chunks_exact(EVENT_BYTES) {
            let sent = sent_at(event, expected).ok_or("an event out of order or damaged")?;
            delays.borrow_mut().push(now.saturating_sub(sent));
            expected += 1;
        }
        tally.add_ok((whole / EVENT_BYTES) as u64);
        body.drain(..whole);
        if ended {
            break;
        }
        if stream.read_buf(&mut raw).await? == 0 {
            return Err("closed in the middle of the stream".into());
        }
    }
    if expected == events && body.is_empty() {
        return Ok(());
    }
    Err(format!("{expected} events of {events}").into())
}

/// `data: SEQUENCE MICROSECONDS fill`, as the backend writes it.
fn sent_at(event: &[u8], sequence: u64) -> Option<u64> {
    let text = std::str::from_utf8(event).ok()?;
    let mut words = text.strip_prefix("data: ")?.strip_suffix("\n\n")?.split(' ');
    let found: u64 = words.next()?.parse().ok()?;
    let sent = words.next()?.parse().ok()?;
    (found == sequence).then_some(sent)
}

/// A chunked body, taken apart as it comes. A proxy may cut the chunks anew.
#[derive(Default)]
struct Chunks {
    left: usize,
    in_chunk: bool,
}

impl Chunks {
    /// Moves what is whole from `raw` to `body`; true at the last chunk.
    fn decode(&mut self, raw: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool> {
        let mut at = 0;
        let ended = loop {
            let bytes = &raw[at..];
            if self.in_chunk {
                let take = self.left.min(bytes.len());
                body.extend_from_slice(&bytes[..take]);
                self.left -= take;
                at += take;
                if self.left > 0 || bytes.len() < take + 2 {
                    break false;
                }
                at += 2;
                self.in_chunk = false;
                continue;
            }
            let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else { break false };
            let line = std::str::from_utf8(&bytes[..end])?;
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = usize::from_str_radix(size, 16)?;
            if self.left == 0 {
                // The empty trailer may still be on its way; wait for it.
                break bytes.len() >= end + 4;
            }
            at += end + 2;
            self.in_chunk = true;
        };
        raw.drain(..at);
        Ok(ended)
    }
}
