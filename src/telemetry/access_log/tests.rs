use serde_json::json;

use super::*;

#[test]
fn lines_are_json_and_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (handle, writer) = start(&AccessLog::File(path.clone())).unwrap();
    for index in 0..100 {
        let path = Some(format!("/{index}\n\"\u{1}"));
        handle.write(Box::new(Record { path, ..Record::default() }));
    }
    drop(writer);
    let text = std::fs::read_to_string(path).unwrap();
    let paths: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].clone())
        .collect();
    assert_eq!(paths.len(), 100);
    assert_eq!(paths[99], json!("/99\n\"\u{1}"));
    assert_eq!(handle.dropped(), 0);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (handle, writer) = start(&AccessLog::File(path.clone())).unwrap();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    handle.write(Box::default());
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while lines(&path) < 1 {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    std::fs::rename(&path, &moved).unwrap();
    handle.write(Box::default());
    assert!(handle.reopen().unwrap());
    handle.write(Box::default());
    drop(writer);
    assert_eq!(lines(&moved) + lines(&path), 3);
    assert!(lines(&moved) >= 1 && lines(&path) >= 1);
}

#[test]
fn a_log_that_is_no_file_and_a_folder_that_is_gone_are_told_of() {
    assert!(!LogHandle::off().reopen().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (handle, _writer) = start(&AccessLog::File(path)).unwrap();
    folder.close().unwrap();
    assert!(handle.reopen().is_err());
}

#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    let (handle, writer) = start(&AccessLog::File("/dev/full".into())).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while handle.dropped() == 0 {
        assert!(std::time::Instant::now() < until);
        for _ in 0..QUEUE {
            handle.write(Box::default());
        }
    }
    drop(writer);
}

#[test]
fn who_asked_is_forgotten_where_the_request_is_refused() {
    let mut record = Record { user_id: Some("4711".into()), ..Record::default() };
    record.cut("the client has gone");
    assert!(record.user_id.is_some());
    record.rejected(&Rejection::new(crate::rejection::Code::UpstreamClosed, "why"));
    assert_eq!(record.user_id, None);
}
