//! A server whose standard error has ended goes on with everything.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Ends it, however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pipe_that_nobody_reads_any_more_stops_no_checks_and_no_end() {
    let (one, two) = (Replica::start("a"), Replica::start("b"));
    let checked = "health = { path = \"/health\", interval = \"100ms\", unhealthy_threshold = 1, \
                   healthy_threshold = 1 }\nslow_start = \"0s\"";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vestibule.toml");
    std::fs::write(&file, configuration(&[&one, &two], checked, "")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("run").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut heard = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let door = heard.find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned()));
    drop(heard);

    let door = door.unwrap().parse().unwrap();
    let answering = || answering(&mut Client::plain(door), 4);
    wait_until("both are asked", || answering() == "a b");
    // Each change is a line that nobody takes.
    for _ in 0..3 {
        one.set_well(false);
        wait_until("it is left alone", || answering() == "b");
        one.set_well(true);
        wait_until("it is asked again", || answering() == "a b");
    }
    let pid = Pid::from_raw(i32::try_from(running.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    wait_until("it ends", || running.0.try_wait().unwrap().is_some());
    assert!(running.0.wait().unwrap().success());
}
