use std::io::Read;

use serde_json::json;

use super::*;

#[test]
fn lines_are_json_and_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, writer) = start(&AccessLog::File(path.clone())).unwrap();
    let handle = log.handle();
    for index in 0..100 {
        let path = Some(format!("/{index}\n\"\u{1}"));
        handle.write(&Record { path, ..Record::default() });
    }
    drop(writer);
    let text = std::fs::read_to_string(path).unwrap();
    let paths: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].clone())
        .collect();
    assert_eq!(paths.len(), 100);
    assert_eq!(paths[99], json!("/99\n\"\u{1}"));
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (log, writer) = start(&AccessLog::File(path.clone())).unwrap();
    let handle = log.handle();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    handle.write(&Record::default());
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while lines(&path) < 1 {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    std::fs::rename(&path, &moved).unwrap();
    handle.write(&Record::default());
    assert!(log.reopen().unwrap());
    handle.write(&Record::default());
    drop(writer);
    assert_eq!(lines(&moved) + lines(&path), 3);
    assert!(lines(&moved) >= 1 && lines(&path) >= 1);
}

#[test]
fn a_log_that_is_no_file_and_a_folder_that_is_gone_are_told_of() {
    assert!(!Log::off().reopen().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, _writer) = start(&AccessLog::File(path)).unwrap();
    folder.close().unwrap();
    assert!(log.reopen().is_err());
}

#[test]
fn a_reader_that_stands_still_costs_lines_that_are_counted_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    // Both ends: opening one waits for the other.
    let mut reader = File::options().read(true).write(true).open(&path).unwrap();
    let (log, writer) = start(&AccessLog::File(path)).unwrap();
    let handle = log.handle();
    let mut written = 0_u64;
    // What the writer took before it began to wait, and one page, and the next line.
    while log.dropped() == 0 {
        handle.write(&Record::default());
        written += 1;
    }
    let dropped = log.dropped();
    let reading = std::thread::spawn(move || {
        let (mut lines, mut bytes) = (0, vec![0; 64 * 1024]);
        while lines < written - dropped {
            let count = reader.read(&mut bytes).unwrap();
            lines += bytes[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        lines
    });
    drop(writer);
    assert_eq!(reading.join().unwrap(), written - dropped);
}

#[test]
fn lines_of_several_workers_all_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, writer) = start(&AccessLog::File(path.clone())).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let handle = log.handle();
            scope.spawn(move || {
                for index in 0..5000 {
                    let path = Some(format!("/{worker}/{index}"));
                    handle.write(&Record { path, ..Record::default() });
                }
            });
        }
    });
    drop(writer);
    let mut next = [0; 4];
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (worker, index) = line["path"].as_str().unwrap()[1..].split_once('/').unwrap();
        let next = &mut next[worker.parse::<usize>().unwrap()];
        assert_eq!(index.parse(), Ok(*next));
        *next += 1;
    }
    assert_eq!((next, log.dropped()), ([5000; 4], 0));
}

#[test]
fn what_users_are_called_holds_from_the_next_line_on_and_for_new_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, writer) = start(&AccessLog::File(path.clone())).unwrap();
    let record =
        Record { tenant: Some("acme".into()), user_id: Some("4711".into()), ..Record::default() };
    let old = log.handle();
    old.write(&record);
    log.call_users(&UserIds::Plain);
    old.write(&record);
    log.handle().write(&record);
    log.call_users(&UserIds::Off);
    old.write(&record);
    drop(writer);
    let text = std::fs::read_to_string(path).unwrap();
    let told = text.lines().filter(|line| line.contains(r#""user_id":"4711""#)).count();
    assert_eq!((told, text.matches("user_id").count(), text.lines().count()), (2, 2, 4));
}

#[test]
fn who_asked_is_forgotten_where_the_request_is_refused() {
    let mut record = Record { user_id: Some("4711".into()), ..Record::default() };
    record.cut("the client has gone");
    assert!(record.user_id.is_some());
    record.rejected(&Rejection::new(crate::rejection::Code::UpstreamClosed, "why"));
    assert_eq!(record.user_id, None);
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted() {
    let (log, writer) = start(&AccessLog::File("/dev/full".into())).unwrap();
    let handle = log.handle();
    for _ in 0..100 {
        handle.write(&Record::default());
    }
    drop(writer);
    assert_eq!(log.dropped(), 100);
}

/// Takes half of what it is given the first time, and no more then.
struct Torn(Arc<Mutex<Vec<u8>>>, usize);

impl Write for Torn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        let taken = match self.1 {
            1 => bytes.len() / 2,
            2 => return Err(io::ErrorKind::StorageFull.into()),
            _ => bytes.len(),
        };
        self.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_batch_that_was_torn_the_next_begins_on_a_line_of_its_own() {
    let seen = Arc::default();
    let out = Box::new(Torn(Arc::clone(&seen), 0));
    let mut batch = Batch { out, text: Vec::new(), lines: 0, is_torn: false };
    let mut write = |text: &str| {
        batch.text.extend_from_slice(text.as_bytes());
        batch.lines += 1;
        batch.write()
    };
    assert_eq!((write("{lost}\n"), write("{one}\n"), write("{two}\n")), (1, 0, 0));
    assert_eq!(*seen.lock().unwrap(), b"{lo\n{one}\n{two}\n");
}

#[test]
fn a_new_file_is_not_everybodys_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (_handle, _writer) = start(&AccessLog::File(path.clone())).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o007, 0);
}
