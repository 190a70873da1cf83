//! One JSON line a request, written away from the hot path.
//!
//! A worker adds its lines to a page of its own; a thread of its own takes the pages, some
//! [`GATHER`] after their first line, and writes them. So a request's record never leaves the core
//! that made it: what crosses over is text, many lines at once. A full page drops lines and counts
//! them: a slow disk never slows a request, and the lock of a page is held by the other side for as
//! long as it takes to exchange two vectors. Lines of one worker are in the order in which they
//! ended; those of several are so but for [`GATHER`].
//!
//! No query, no header value but the request id, ever; no user id of a request that was refused.
//!
//! A file that was moved away is opened anew on request ([`Log::reopen`]), as logrotate asks
//! with SIGUSR1: what was written before goes to the old one, no line is cut or lost.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::request_id::RequestId;
use super::trace::Streaming;
use super::trace::context::TraceId;
use crate::config::snapshot::{AccessLog, UserIds};
use crate::rejection::Rejection;
use crate::upstream::exchange::Tally;
pub use line::Lines;

/// Bytes that may wait to be written, of one worker.
const FULL: usize = 4 * 1024 * 1024;
/// Bytes of one worker that are not waited with any longer.
const PLENTY: usize = 128 * 1024;
/// Bytes of a path in a line, as it is written there.
const LONGEST_PATH: usize = 2048;
/// How long the writer gathers after the first line.
const GATHER: Duration = Duration::from_millis(50);

/// What is told about one request.
#[derive(Debug)]
pub struct Record {
    pub method: Method,
    pub scheme: &'static str,
    /// None where the message could not be read.
    pub protocol: Option<&'static str>,
    pub host: Option<String>,
    pub path: Option<String>,
    pub tenant: Option<Arc<str>>,
    pub persona: Option<Arc<str>>,
    pub device: Option<Arc<str>>,
    /// Who asked, as their tenant calls them.
    pub user_id: Option<Box<str>>,
    pub client: IpAddr,
    pub request_id: RequestId,
    pub trace_id: Option<TraceId>,
    pub time: SystemTime,
    pub status: Option<StatusCode>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration: Duration,
    pub first_byte: Option<Duration>,
    pub code: Option<&'static str>,
    pub reason: Option<&'static str>,
    /// The answer did not reach its end.
    pub aborted: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            method: Method::GET,
            scheme: "https",
            protocol: Some("1.1"),
            host: None,
            path: None,
            tenant: None,
            persona: None,
            device: None,
            user_id: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            request_id: RequestId::default(),
            trace_id: None,
            time: SystemTime::now(),
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            first_byte: None,
            code: None,
            reason: None,
            aborted: false,
        }
    }
}

impl Record {
    /// As much of a path as a line has room for, and enough more that it shows where it was cut.
    pub fn kept(path: &str) -> &str {
        &path[..path.ceil_char_boundary(LONGEST_PATH + 1)]
    }

    /// OpenTelemetry's word for a method that is no method, or was not understood.
    pub fn other_method() -> Method {
        Method::from_bytes(b"_OTHER").unwrap_or_default()
    }

    /// It was refused, at whatever stage: nobody vouches any longer for who asked.
    pub fn rejected(&mut self, rejection: &Rejection) {
        self.user_id = None;
        self.code = Some(rejection.code.as_str());
        self.reason = Some(rejection.reason);
    }

    pub fn cut(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    pub fn finish(&mut self, started: Instant, tally: &Tally, aborted: bool) {
        self.status = tally.status;
        self.request_bytes = tally.request_bytes;
        self.response_bytes = tally.response_bytes;
        self.duration = tally.ended.unwrap_or_else(Instant::now).duration_since(started);
        self.first_byte = tally.first_byte.map(|at| at.duration_since(started));
        self.aborted = aborted;
    }
}

/// The log as a whole: what all its pages share.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    pages: Mutex<Pages>,
    /// The writer waits for a first line.
    is_asleep: AtomicBool,
    stop: AtomicBool,
    dropped: AtomicU64,
    writer: std::sync::OnceLock<std::thread::Thread>,
    /// Where lines go, if that is a file.
    path: Option<PathBuf>,
    /// The same path opened anew; the writer goes over to it.
    fresh: Mutex<Option<File>>,
}

#[derive(Debug, Default)]
struct Pages {
    all: Vec<Arc<Mutex<Page>>>,
    /// What users are called in pages that are begun from now on.
    user_ids: UserIds,
}

/// Lines of one worker that are not written yet.
#[derive(Debug, Default)]
struct Page {
    lines: Lines,
    text: Vec<u8>,
    /// How many lines that is.
    count: u64,
}

/// A thread that panicked has at most begun a line, and says so itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub fn off() -> Self {
        Self { shared: None }
    }

    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// A way to the log for one more worker.
    pub fn handle(&self) -> LogHandle {
        let page = self.shared.as_ref().map(|shared| {
            let mut pages = lock(&shared.pages);
            let lines = Lines::calling_users(pages.user_ids.clone());
            let page = Arc::new(Mutex::new(Page { lines, ..Page::default() }));
            pages.all.push(Arc::clone(&page));
            (Arc::clone(shared), page)
        });
        LogHandle { page }
    }

    /// What users are called from the next line on.
    pub fn call_users(&self, user_ids: &UserIds) {
        let Some(shared) = &self.shared else { return };
        let mut pages = lock(&shared.pages);
        pages.user_ids = user_ids.clone();
        for page in &pages.all {
            let lines = Lines::calling_users(user_ids.clone());
            // Dropped when the page is free again: these have known thousands of users.
            let _old = std::mem::replace(&mut lock(page).lines, lines);
        }
    }

    /// Opens the file anew; false where lines go elsewhere. Where it cannot be opened, lines go on to
    /// the old one.
    pub fn reopen(&self) -> io::Result<bool> {
        let Some(shared) = &self.shared else { return Ok(false) };
        let Some(path) = &shared.path else { return Ok(false) };
        let file = open(path)?;
        *lock(&shared.fresh) = Some(file);
        shared.wake();
        Ok(true)
    }

    /// Lines that were lost: the writer could not keep up, or could not write.
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }
}

/// A worker's way to the log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    page: Option<(Arc<Shared>, Arc<Mutex<Page>>)>,
}

impl LogHandle {
    pub fn is_on(&self) -> bool {
        self.page.is_some()
    }

    /// Adds a line; drops it where the writer cannot keep up.
    pub fn write(&self, record: &Record) {
        let Some((shared, page)) = &self.page else { return };
        let mut page = lock(page);
        let Page { lines, text, count } = &mut *page;
        let before = text.len();
        if before >= FULL {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.write(record, text);
        *count += 1;
        let after = text.len();
        drop(page);
        let is_first = before == 0 && shared.is_asleep.swap(false, Ordering::AcqRel);
        if is_first || before < PLENTY && after >= PLENTY {
            shared.wake();
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// The line and the span of a stream that outlives its request: written when the stream ends.
#[derive(Debug)]
pub struct StreamLog {
    record: Option<Box<Record>>,
    span: Option<Streaming>,
    started: Instant,
    log: LogHandle,
}

impl StreamLog {
    /// None where nobody wants to know.
    pub fn new(
        record: Option<Box<Record>>,
        span: Option<Streaming>,
        started: Instant,
        log: &LogHandle,
    ) -> Option<Box<Self>> {
        let is_wanted = record.is_some() || span.is_some();
        is_wanted.then(|| Box::new(Self { record, span, started, log: log.clone() }))
    }

    /// Why it was ended before its end.
    pub fn cut(&mut self, reason: &'static str) {
        if let Some(record) = &mut self.record {
            record.cut(reason);
        }
        if let Some(span) = &mut self.span {
            span.ends_because(reason);
        }
    }

    /// Writes the line: bytes from the client, bytes to the client.
    pub fn end(self, up: u64, down: u64) {
        if let Some(mut record) = self.record {
            record.request_bytes = up;
            record.response_bytes = down;
            record.duration = self.started.elapsed();
            self.log.write(&record);
        }
        if let Some(span) = self.span {
            span.end(up, down);
        }
    }
}

/// The writing thread; dropping it writes what is queued.
#[derive(Debug)]
pub struct LogWriter {
    shared: Option<Arc<Shared>>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the log and starts its writer.
pub fn start(destination: &AccessLog) -> io::Result<(Log, LogWriter)> {
    let out: Box<dyn Write + Send> = match destination {
        AccessLog::Off => {
            return Ok((Log::off(), LogWriter { shared: None, thread: None }));
        }
        AccessLog::Stdout => Box::new(io::stdout()),
        AccessLog::File(path) => Box::new(open(path)?),
    };
    let shared = Arc::new(Shared {
        pages: Mutex::default(),
        is_asleep: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
        writer: std::sync::OnceLock::new(),
        path: match destination {
            AccessLog::File(path) => Some(path.clone()),
            AccessLog::Off | AccessLog::Stdout => None,
        },
        fresh: Mutex::default(),
    });
    let inside = Arc::clone(&shared);
    let thread =
        std::thread::Builder::new().name("access-log".into()).spawn(move || run(&inside, out))?;
    // Nobody else sets it, so it is empty.
    let _ = shared.writer.set(thread.thread().clone());
    let writer = LogWriter { shared: Some(Arc::clone(&shared)), thread: Some(thread) };
    Ok((Log { shared: Some(shared) }, writer))
}

fn open(path: &Path) -> io::Result<File> {
    // Addresses and users are nobody's affair but the operator's and, in a group, a log shipper's.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn run(shared: &Shared, out: Box<dyn Write + Send>) {
    let mut batch = Batch { out, text: Vec::new(), lines: 0, is_torn: false };
    loop {
        // Before the last look: what was written until then is in it.
        let is_last = shared.stop.load(Ordering::Acquire);
        if let Some(file) = lock(&shared.fresh).take() {
            (batch.out, batch.is_torn) = (Box::new(file), false);
        }
        let pages = lock(&shared.pages).all.clone();
        for page in &pages {
            batch.take(page);
            shared.dropped.fetch_add(batch.write(), Ordering::Relaxed);
        }
        if is_last {
            return;
        }
        // Said before the pages are looked at once more, also those that are new: whoever begins one
        // after that sees it.
        shared.is_asleep.store(true, Ordering::Release);
        if lock(&shared.pages).all.iter().all(|page| lock(page).text.is_empty()) {
            std::thread::park();
        }
        shared.is_asleep.store(false, Ordering::Release);
        if !shared.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(GATHER);
        }
    }
}

/// Lines that are written at once.
struct Batch {
    out: Box<dyn Write + Send>,
    text: Vec<u8>,
    lines: u64,
    /// The last one may have ended inside a line.
    is_torn: bool,
}

impl Batch {
    /// Takes what a page has, and leaves it the room of what was written before.
    fn take(&mut self, page: &Mutex<Page>) {
        if self.text.capacity() > 2 * PLENTY {
            // Of a burst, or of a disk that was slow.
            self.text = Vec::new();
        }
        let mut page = lock(page);
        std::mem::swap(&mut page.text, &mut self.text);
        std::mem::swap(&mut page.count, &mut self.lines);
    }

    /// Writes the lines; how many were lost. A log that cannot be written must not stop the server,
    /// and the next batch may succeed: it begins on a line of its own.
    fn write(&mut self) -> u64 {
        let lines = std::mem::take(&mut self.lines);
        if lines == 0 {
            return 0;
        }
        let begins = if self.is_torn { self.out.write_all(b"\n") } else { Ok(()) };
        let written = begins.and_then(|()| self.out.write_all(&self.text));
        let written = written.and_then(|()| self.out.flush());
        self.text.clear();
        self.is_torn = written.is_err();
        if self.is_torn { lines } else { 0 }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.stop.store(true, Ordering::Release);
        }
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the writer was reported by the runtime already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
