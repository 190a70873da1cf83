use std::path::Path;

use super::*;

/// Tenants by name, each with so many personas and sites, and so many numbers.
fn snapshot(tenants: &[(&str, usize, usize)], most: usize) -> Snapshot {
    let mut text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
         [telemetry]\npersona_metrics = {most}\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n\
         [upstreams.other]\nservers = [\"http://127.0.0.1:1\"]\n"
    );
    for (tenant, personas, sites) in tenants {
        text += &format!("[tenants.{tenant}]\n");
        for (kind, count) in [("personas", personas), ("sites", sites)] {
            for number in 0..*count {
                text += &format!(
                    "[tenants.{tenant}.{kind}.n{number}]\nupstream = \"app\"\n\
                     hosts = [\"{kind}-{number}.{tenant}.example\"]\n"
                );
            }
        }
    }
    let loaded = crate::config::load_str("test.toml", &text, Path::new(""));
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

fn key(tenant: &str, role: Role, name: &str) -> OwnerKey {
    OwnerKey { tenant: tenant.into(), role: Some(role), name: name.into() }
}

/// As it is labelled: tenant, name.
fn labels(plan: &Plan, tenant: &str, role: Role, name: &str) -> (String, String) {
    let key = plan.owner(key(tenant, role, name));
    (key.tenant.to_string(), key.name.to_string())
}

#[test]
fn small_ones_get_what_they_need_and_large_ones_what_is_left() {
    for (needs, most, expected) in [
        (vec![], 10, vec![]),
        (vec![3, 1, 2], 10, vec![3, 1, 2]),
        (vec![100, 1, 2], 10, vec![7, 1, 2]),
        (vec![100, 100], 11, vec![5, 6]),
        (vec![5, 5, 5], 3, vec![1, 1, 1]),
        (vec![0, 9], 4, vec![0, 4]),
    ] {
        assert_eq!(parts(&needs, most), expected, "{needs:?} of {most}");
    }
}

#[test]
fn where_all_have_room_each_has_its_own() {
    let plan = Plan::of(&snapshot(&[("acme", 2, 1), ("globex", 1, 0)], 4));
    assert_eq!(plan.folded, 0);
    for (tenant, role, name) in [
        ("acme", Role::Persona, "n0"),
        ("acme", Role::Persona, "n1"),
        ("acme", Role::Site, "n0"),
        ("globex", Role::Persona, "n0"),
    ] {
        assert_eq!(labels(&plan, tenant, role, name), (tenant.into(), name.into()));
    }
}

#[test]
fn a_tenant_with_many_personas_takes_no_other_ones_numbers() {
    let plan = Plan::of(&snapshot(&[("acme", 20, 0), ("globex", 2, 0)], 5));
    assert_eq!(plan.folded, 17);
    let of = |tenant, name| labels(&plan, tenant, Role::Persona, name);
    assert_eq!(of("globex", "n1"), ("globex".into(), "n1".into()));
    assert_eq!(of("acme", "n10"), ("acme".into(), "n10".into()));
    assert_eq!(of("acme", "n19"), ("acme".into(), OTHER.into()));
}

#[test]
fn where_there_are_too_many_tenants_the_last_ones_share() {
    let plan = Plan::of(&snapshot(&[("a", 1, 0), ("b", 2, 0), ("c", 3, 0)], 2));
    let of = |tenant, name| labels(&plan, tenant, Role::Persona, name);
    assert_eq!(of("a", "n0"), ("a".into(), "n0".into()));
    assert_eq!(of("b", "n1"), ("b".into(), OTHER.into()));
    assert_eq!(of("c", "n0"), (OTHER.into(), OTHER.into()));
    assert_eq!(&*plan.tenant(&"c".into()), OTHER);
    assert_eq!(plan.folded, 4);
}

#[test]
fn upstreams_are_bounded_too() {
    let plan = Plan::of(&snapshot(&[("acme", 1, 0)], 1));
    assert_eq!(&*plan.upstream(&"app".into()), "app");
    assert_eq!(&*plan.upstream(&"other".into()), OTHER);
}

#[test]
fn what_calls_itself_other_is_counted_with_the_others() {
    let mut plan = Plan::of(&snapshot(&[("acme", 1, 0)], 9));
    plan.owners.insert(key("acme", Role::Persona, OTHER));
    let shared = plan.owner(key("acme", Role::Persona, OTHER));
    assert_eq!(shared, OwnerKey::others_of(&"acme".into()));
}

#[test]
fn what_has_gone_is_told_for_a_while_and_then_dropped() {
    let (start, mut roster) = (Instant::now(), Roster::<&str, u8>::default());
    let later = |seconds| start + Duration::from_secs(seconds);
    let get = |roster: &mut Roster<&'static str, u8>, key| roster.get(key, 10, || "others", |_| 0);
    drop(get(&mut roster, "stays"));
    drop(get(&mut roster, "goes"));
    let held = get(&mut roster, "held");
    roster.follow(|key| *key == "stays", start);
    roster.tidy(later(299));
    assert_eq!(roster.all().len(), 3);
    roster.tidy(later(300));
    assert_eq!(roster.all().len(), 2, "a request still has one of them");
    drop(held);
    roster.tidy(later(301));
    assert_eq!(roster.all().len(), 1);
}

#[test]
fn what_comes_back_in_time_goes_on_counting() {
    let (start, mut roster) = (Instant::now(), Roster::<&str, u8>::default());
    let first = roster.get("one", 10, || "others", |_| 0);
    roster.follow(|_| false, start);
    roster.follow(|_| true, start + Duration::from_secs(200));
    let address = Arc::as_ptr(&first).addr();
    drop(first);
    roster.tidy(start + Duration::from_secs(1000));
    let again = roster.get("one", 10, || "others", |_| 0);
    assert_eq!(Arc::as_ptr(&again).addr(), address);
}

#[test]
fn past_its_room_a_roster_remembers_nobody_new() {
    let mut roster = Roster::<u32, u32>::default();
    for number in 0..100 {
        roster.get(number, 3, || 999, |key| key);
    }
    let mut all: Vec<u32> = roster.all().iter().map(|one| **one).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 999]);
}
