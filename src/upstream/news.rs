//! What an operator is told about servers: that one is left alone, and why; that it is used again;
//! that too few are well to be choosy.
//!
//! It compares what is with what it said last, once a tick, so that a server that goes back and
//! forth costs two lines a tick at most. A server that the configuration takes away is no news.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::condition::State;
use super::group::Group;
use super::member::{Member, MemberId};

/// What was said last.
#[derive(Debug, Default)]
pub struct News {
    /// Servers that are out; true while they are still there.
    out: HashMap<MemberId, bool>,
    /// Upstreams that use all of their servers, well or not.
    panicking: HashSet<usize>,
}

impl News {
    /// What has changed since the last look at this upstream.
    pub fn of(&mut self, group: &Group, now: Instant) -> Vec<String> {
        let upstream = group.upstream();
        let mut news = Vec::new();
        for member in group.members() {
            if let Some(what) = self.of_member(&member, now) {
                let server = &member.server.address;
                news.push(format!("upstream {}: the server {server} {what}", upstream.name));
            }
        }
        let was = self.panicking.contains(&group.number);
        match (was, group.panics()) {
            (false, true) => {
                self.panicking.insert(group.number);
                let what = "too few servers are well, so all of them are used";
                news.push(format!("upstream {}: {what}", upstream.name));
            }
            (true, false) => {
                self.panicking.remove(&group.number);
                news.push(format!("upstream {}: enough servers are well again", upstream.name));
            }
            (false, false) | (true, true) => {}
        }
        news
    }

    fn of_member(&mut self, member: &Arc<Member>, now: Instant) -> Option<&'static str> {
        if member.weight() > 0 {
            return self.out.remove(&member.id).map(|_| "is used again");
        }
        if let Some(is_there) = self.out.get_mut(&member.id) {
            *is_there = true;
            return None;
        }
        self.out.insert(member.id, true);
        let state = member.with_condition(|it| it.state(Duration::ZERO, now));
        Some(match state {
            State::Unhealthy => "fails its health checks and is left alone",
            State::Healthy | State::Ejected | State::SlowStart => {
                "fails requests and is left alone for a while"
            }
        })
    }

    /// Forgets servers that no group has shown since this was asked the last time.
    pub fn forget_others(&mut self) {
        self.out.retain(|_, is_there| std::mem::take(is_there));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::condition::Failed;
    use crate::upstream::group::tests::upstream;
    use crate::upstream::policy::HealthPolicy;

    fn said(news: &mut News, group: &Group, now: Instant) -> Vec<String> {
        let said = news.of(group, now);
        news.forget_others();
        said.iter().map(|it| it.replace("upstream app: ", "")).collect()
    }

    #[test]
    fn each_change_is_told_once_and_in_words() {
        let now = Instant::now();
        let health = HealthPolicy { healthy_threshold: 1, ..HealthPolicy::default() };
        let change = |it: &mut crate::config::snapshot::Upstream| {
            it.policy.health = Some(health.clone());
            it.policy.slow_start = Duration::ZERO;
        };
        let group = Group::new(0, &upstream("app", &[1, 2], change), now);
        let members = group.members();
        let mut news = News::default();
        assert!(said(&mut news, &group, now).is_empty());
        for (at, is_well, expected) in [
            (0, false, vec!["the server 127.0.0.1:1 fails its health checks and is left alone"]),
            (0, false, vec![]),
            (
                1,
                false,
                vec![
                    "the server 127.0.0.1:2 fails its health checks and is left alone",
                    "too few servers are well, so all of them are used",
                ],
            ),
            (
                0,
                true,
                vec!["the server 127.0.0.1:1 is used again", "enough servers are well again"],
            ),
        ] {
            group.checked(&members[at], is_well, &health, now);
            assert_eq!(said(&mut news, &group, now), expected);
            assert!(said(&mut news, &group, now).is_empty());
        }
    }

    #[test]
    fn an_ejection_is_told_and_what_a_reload_takes_away_is_forgotten() {
        let now = Instant::now();
        let group = Group::new(0, &upstream("app", &[1, 2], |_| {}), now);
        let mut news = News::default();
        for _ in 0..100 {
            group.failed(&group.members()[0], Failed::Unanswered, now);
        }
        let told = said(&mut news, &group, now);
        assert_eq!(told, ["the server 127.0.0.1:1 fails requests and is left alone for a while"]);
        group.follow(&upstream("app", &[2], |_| {}), now);
        assert!(said(&mut news, &group, now).is_empty());
        assert!(news.out.is_empty());
    }
}
