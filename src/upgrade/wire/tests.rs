use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::identity::SessionHash;
use crate::policy::injection::Injection;
use crate::policy::limits::{Bucket, Client};
use crate::policy::variables::Variables;
use crate::state::jar::{KeptCookie, KeptJar};
use crate::state::limits::TenantLimits;
use crate::state::parked::{Launched, ParkedLaunch};
use crate::state::replay::UsedSignature;

fn batch(items: Items) -> Message {
    Message::State(Batch { tenant: "acme".into(), items })
}

fn launch(value: &str, injected: Option<&str>) -> ParkedLaunch {
    let parts = [("name", value, true), ("plan_b", "", false)];
    let variables = Variables::from_parts(parts).unwrap();
    let injection = Injection::from_parts(injected.map(Into::into), Some("[]".into()));
    ParkedLaunch {
        persona: "sales".into(),
        session: SessionHash::of(&[7; 16]),
        launched: Arc::new(Launched { variables, injection }),
        until: UnixSeconds(9),
    }
}

fn used(client: Client) -> UsedSignature {
    UsedSignature {
        persona: 1 << 60,
        proof: [1; 16],
        session: SessionId([2; 16]),
        client,
        first: UnixSeconds(3),
        until: UnixSeconds(4),
        came_back: true,
    }
}

fn jar() -> KeptJar {
    let cookie = |name: &str| KeptCookie {
        name: name.into(),
        value: "é".into(),
        path: "/".into(),
        expires: UnixSeconds(u64::MAX),
    };
    let cookies = vec![cookie("a"), cookie("b")];
    KeptJar { session: SessionId([3; 16]), until: UnixSeconds(5), cookies }
}

fn every_kind() -> Vec<Message> {
    let ended = EndedSession { id: SessionId([9; 16]), until: UnixSeconds(10) };
    let limits = TenantLimits {
        tenant: Bucket::from_nanos([1, 2]),
        longest_step: 3,
        keys: vec![([4, 5], Bucket::from_nanos([6, 7]))],
    };
    let welcome = |secret| Message::Welcome {
        version: 1,
        secret,
        watchdog: 30_000_000,
        listeners: 4,
        elders: 1,
    };
    vec![
        Message::Hello { oldest: 1, newest: 3 },
        welcome(None),
        welcome(Secret::new([8; 32])),
        Message::Listener { configured: "[::1]:443".parse().unwrap() },
        Message::Elder,
        Message::Ready,
        Message::Clock(u64::MAX),
        batch(Items::Ended(vec![ended])),
        batch(Items::Used(vec![used(Client::V4(0x7f00_0001)), used(Client::V6(u64::MAX))])),
        batch(Items::Parked(vec![launch("Zoë", None), launch("", Some("{}"))])),
        batch(Items::Jars(vec![jar()])),
        batch(Items::Limits(limits)),
        Message::Go,
        Message::Accepting,
        Message::Yours,
        Message::Ended { tenant: "acme".into(), session: ended },
        Message::Refused("no".into()),
    ]
}

fn written(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    message.write(&mut frame);
    frame
}

#[test]
fn every_message_reads_as_it_was_written() {
    for message in every_kind() {
        let frame = written(&message);
        assert_eq!(frame[..4], u32::try_from(frame.len() - 4).unwrap().to_be_bytes());
        assert_eq!(Message::read(&frame[4..]), Ok(message));
    }
}

#[test]
fn no_part_of_a_message_and_nothing_longer_is_one() {
    for message in every_kind() {
        let frame = written(&message);
        // Items go to the end of a frame: it may be a batch of fewer.
        let is_shorter_batch = |cut: usize| {
            matches!(&message, Message::State(_))
                && Message::read(&frame[4..cut]).is_ok_and(|it| matches!(it, Message::State(_)))
        };
        for cut in 4..frame.len() {
            let read = Message::read(&frame[4..cut]);
            assert!(read.is_err() || is_shorter_batch(cut), "{} {cut}", message.name());
        }
        let longer = [&frame[4..], &[0]].concat();
        assert_eq!(Message::read(&longer), Err(Malformed), "{}", message.name());
    }
}

#[test]
fn a_hello_is_written_alike_in_every_version() {
    let hello = Message::Hello { oldest: 0x0102, newest: 0x0304 };
    assert_eq!(written(&hello), [0, 0, 0, 5, 1, 1, 2, 3, 4]);
}

#[test]
fn the_secret_is_in_no_debug() {
    let message = Message::Welcome {
        version: 1,
        secret: Secret::new(*b"swordfish"),
        watchdog: 0,
        listeners: 0,
        elders: 0,
    };
    let shown = format!("{message:?}");
    assert!(shown.contains("Secret(-)") && !shown.contains("swordfish"), "{shown}");
    let shown = format!("{:?}", batch(Items::Parked(vec![launch("swordfish", Some("sword"))])));
    assert!(!shown.contains("sword"), "{shown}");
}

#[test]
fn much_is_cut_into_frames_and_nothing_is_lost() {
    let all: Vec<_> = (0..30_000_u64)
        .map(|number| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            EndedSession { id: SessionId(id), until: UnixSeconds(number) }
        })
        .collect();
    let parts = batches("acme", Items::Ended(all.clone()));
    assert!(parts.len() > 1);
    let mut found = Vec::new();
    for part in parts {
        let frame = written(&Message::State(part));
        assert!(frame.len() < 512 * 1024, "{}", frame.len());
        match Message::read(&frame[4..]) {
            Ok(Message::State(Batch { items: Items::Ended(part), .. })) => found.extend(part),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, all);
    assert!(batches("acme", Items::Limits(TenantLimits::default())).is_empty());
    let used_up = TenantLimits { tenant: Bucket::from_nanos([1, 2]), ..TenantLimits::default() };
    assert_eq!(batches("acme", Items::Limits(used_up)).len(), 1);
}

proptest! {
    #[test]
    fn what_reads_is_written_alike(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 1..=12_u8) {
        let frame = [&[kind], &*bytes].concat();
        if let Ok(message) = Message::read(&frame) {
            prop_assert_eq!(&written(&message)[4..], &*frame);
        }
    }
}
