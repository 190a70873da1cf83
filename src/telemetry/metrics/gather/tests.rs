use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::family::Value;
use super::*;
use crate::config::snapshot::{HeldBack, Serves};
use crate::tls::dev::DevCa;
use crate::tls::store::Certificate;

fn snapshot(more: &str) -> Snapshot {
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n{more}\
         [upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n\
         [tenants.a.personas.x]\nupstream = \"app\"\nhosts = [\"a.test\"]\n\
         [tenants.b.personas.x]\nupstream = \"app\"\nhosts = [\"b.test\"]\n\
         [tenants.c.personas.x]\nupstream = \"app\"\nhosts = [\"c.test\"]\n"
    );
    let loaded = crate::config::load_str("test.toml", &text, Path::new(""));
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

struct Case {
    metrics: Metrics,
    jars: Jars,
    limiter: Limiter,
}

impl Case {
    fn new(snapshot: &Snapshot) -> Self {
        let case = Self {
            metrics: Metrics::default(),
            jars: Jars::default(),
            limiter: Limiter::default(),
        };
        case.metrics.follow(snapshot, Instant::now());
        case.jars.follow(snapshot.tenants.keys().map(|name| &**name));
        case.limiter.follow(snapshot.tenants.keys().map(|name| &**name));
        case
    }

    /// Labels and level of each point of that name.
    fn told(&self, snapshot: &Snapshot, name: &str) -> Vec<(Vec<String>, f64)> {
        let families = gather(&Sources {
            metrics: &self.metrics,
            snapshot,
            limiter: &self.limiter,
            replays: &Replays::default(),
            parked: &Parked::default(),
            jars: &self.jars,
            sessions: &Sessions::default(),
            upstreams: &Registry::default(),
            connections: (0, 1),
            is_draining: false,
            dropped: 0,
            moment: Moment::START,
        });
        let family = families.iter().find(|family| family.name == name).unwrap();
        let labels = |labels: &super::super::family::Labels| {
            labels.iter().map(|(_, value)| value.as_str().to_owned()).collect()
        };
        let level = |value: &Value| match value {
            Value::Level(level) => *level,
            other => panic!("{other:?}"),
        };
        family.points.iter().map(|it| (labels(&it.labels), level(&it.value))).collect()
    }
}

#[test]
fn of_tenants_that_share_a_label_the_highest_is_told() {
    use crate::policy::session::{SessionId, UnixSeconds};

    let snapshot = snapshot("[telemetry]\npersona_metrics = 1\n");
    let case = Case::new(&snapshot);
    for (tenant, sessions) in [("a", 1), ("b", 2), ("c", 5)] {
        for session in 0..sessions {
            let id = SessionId([session; 16]);
            let (now, until) = (UnixSeconds(0), UnixSeconds(100));
            case.jars.take(tenant, id, b"x=1", "/", now, until).unwrap();
        }
    }
    let told = case.told(&snapshot, "vestibule.store.entries");
    let jars: Vec<_> = told.iter().filter(|(labels, _)| labels[0] == "jars").collect();
    let label = |tenant: &str| vec!["jars".to_owned(), tenant.to_owned()];
    assert_eq!(jars, [&(label("_other"), 5.0), &(label("a"), 1.0)]);
}

#[test]
fn a_certificate_is_told_by_its_first_name_and_the_earliest_of_equal_ones() {
    let mut snapshot = snapshot("");
    let ca = DevCa::generate().unwrap();
    let certificate = |names: &[&str], not_after| {
        let leaf = ca.issue(names).unwrap();
        let (chain, key) = (leaf.cert_chain_pem.as_bytes(), leaf.key_pem.as_bytes());
        let made = Certificate::from_pem(chain, key).ok().unwrap();
        Arc::new(Certificate { not_after, ..made })
    };
    snapshot.certificates.insert(certificate(&["one.test", "two.test"], 2000));
    snapshot.certificates.insert(certificate(&["one.test", "three.test"], 1000));
    snapshot.certificates.insert(certificate(&["*.wild.test"], 3000));
    let case = Case::new(&snapshot);
    let told = case.told(&snapshot, "vestibule.certificate.expiry.timestamp");
    assert_eq!(told, [(vec!["one.test".into()], 1000.0), (vec!["*.wild.test".into()], 3000.0)]);
}

#[test]
fn a_tenant_that_is_held_back_is_named_whatever_serves() {
    let mut snapshot = snapshot("");
    for (tenant, serves) in [("a", Serves::LastGood), ("new", Serves::Nothing)] {
        let (problems, since) = (Vec::new(), SystemTime::UNIX_EPOCH);
        snapshot.held_back.push(HeldBack { tenant: tenant.into(), problems, since, serves });
    }
    let told = Case::new(&snapshot).told(&snapshot, "vestibule.tenants.held_back");
    let labels = |tenant: &str, serves: &str| vec![tenant.to_owned(), serves.to_owned()];
    assert_eq!(told, [(labels("a", "last_good"), 1.0), (labels("new", "nothing"), 1.0)]);
}

#[test]
fn names_are_told_once_and_help_is_a_sentence() {
    let snapshot = snapshot("");
    let case = Case::new(&snapshot);
    let families = gather(&Sources {
        metrics: &case.metrics,
        snapshot: &snapshot,
        limiter: &case.limiter,
        replays: &Replays::default(),
        parked: &Parked::default(),
        jars: &case.jars,
        sessions: &Sessions::default(),
        upstreams: &Registry::default(),
        connections: (0, 1),
        is_draining: false,
        dropped: 0,
        moment: Moment::START,
    });
    let mut names = std::collections::BTreeSet::new();
    let documentation = include_str!("../../../../docs/metrics.md");
    for family in &families {
        assert!(names.insert(family.prometheus()), "{}", family.name);
        assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
        let name = family.prometheus();
        let is_documented = documentation.contains(&format!("`{name}"))
            || name
                .rsplit_once('_')
                .is_some_and(|(_, last)| documentation.contains(&format!("`_{last}")))
            || name.starts_with("process_");
        assert!(is_documented, "docs/metrics.md does not say what {name} is");
    }
}
