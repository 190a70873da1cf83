use super::*;

fn place(tenant: &str, target: &str, now: u64) -> Place {
    Place {
        tenant: tenant.into(),
        asset: Asset {
            upstream: "app".into(),
            target: target.into(),
            validator: b"\"1\"".as_slice().into(),
            length: 1,
            coding: Coding::Gzip,
        },
        now: UnixSeconds(now),
    }
}

fn bytes(count: usize) -> Arc<[u8]> {
    vec![7; count].into()
}

#[test]
fn an_asset_is_found_by_all_that_tells_it_from_others() {
    let encoded = Encoded::default();
    encoded.follow(["a", "b"]);
    let asset = place("a", "/x", 0);
    encoded.put(asset.clone(), bytes(5));
    assert_eq!(encoded.get(&asset), Some(bytes(5)));
    let other = |change: fn(&mut Place)| {
        let mut asset = asset.clone();
        change(&mut asset);
        encoded.get(&asset)
    };
    assert_eq!(other(|it| it.tenant = "b".into()), None);
    assert_eq!(other(|it| it.asset.upstream = "b".into()), None);
    assert_eq!(other(|it| it.asset.target = "/x?1".into()), None);
    assert_eq!(other(|it| it.asset.validator = b"\"2\"".as_slice().into()), None);
    assert_eq!(other(|it| it.asset.length = 2), None);
    assert_eq!(other(|it| it.asset.coding = Coding::Brotli), None);
    assert_eq!(other(|it| it.now = UnixSeconds(9)), Some(bytes(5)));
    encoded.put(place("nobody", "/x", 0), bytes(5));
    assert_eq!(encoded.get(&place("nobody", "/x", 0)), None);
}

#[test]
fn a_tenant_has_its_quota_and_loses_what_was_unused_longest() {
    let encoded = Encoded::default();
    encoded.follow(["a", "b"]);
    encoded.put(place("b", "/other", 0), bytes(5));
    let most = TENANT / Encoded::LARGEST;
    for index in 0..most {
        encoded.put(place("a", &format!("/{index}"), 0), bytes(Encoded::LARGEST - 1024));
    }
    assert!(encoded.get(&place("a", "/0", 0)).is_some());
    encoded.put(place("a", "/new", 0), bytes(Encoded::LARGEST - 1024));
    assert!(encoded.get(&place("a", "/0", 0)).is_some(), "it was used");
    assert!(encoded.get(&place("a", "/1", 0)).is_none(), "it was not");
    assert!(encoded.get(&place("a", "/new", 0)).is_some());
    assert!(encoded.get(&place("b", "/other", 0)).is_some(), "another tenant loses nothing");
    encoded.put(place("a", "/huge", 0), bytes(Encoded::LARGEST + 1));
    assert!(encoded.get(&place("a", "/huge", 0)).is_none());
}

#[test]
fn all_tenants_together_have_an_end() {
    let encoded = Encoded::default();
    let names: Vec<String> = (0..20).map(|index| format!("t{index}")).collect();
    encoded.follow(names.iter().map(String::as_str));
    for name in &names {
        for index in 0..3 {
            encoded.put(place(name, &format!("/{index}"), 0), bytes(Encoded::LARGEST - 1024));
        }
    }
    assert!(encoded.bytes() <= ALL && encoded.bytes() > ALL - 2 * Encoded::LARGEST);
}

#[test]
fn what_nobody_asks_for_and_whose_tenant_is_gone_is_forgotten() {
    let encoded = Encoded::default();
    encoded.follow(["a", "b"]);
    encoded.put(place("a", "/old", 0), bytes(5));
    encoded.put(place("a", "/used", 0), bytes(5));
    encoded.get(&place("a", "/used", UNUSED - 1));
    encoded.put(place("b", "/x", UNUSED), bytes(5));
    encoded.tidy(UnixSeconds(UNUSED));
    assert!(encoded.get(&place("a", "/old", UNUSED)).is_none());
    assert!(encoded.get(&place("a", "/used", UNUSED)).is_some());
    encoded.follow(["a"]);
    encoded.follow(["a", "b"]);
    assert!(encoded.get(&place("b", "/x", UNUSED)).is_none());
    encoded.follow([]);
    assert_eq!(encoded.bytes(), 0);
}
