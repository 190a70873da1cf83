use super::*;

fn request(lines: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    for (name, value) in lines {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let status = StatusCode::from_u16(status).unwrap();
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    for (name, value) in lines {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn policy() -> Compression {
    Compression {
        codings: Compression::CODINGS.into(),
        min_bytes: Compression::MIN_BYTES,
        types: Compression::TYPES.into_iter().filter_map(MediaRange::parse).collect(),
    }
}

#[test]
fn every_default_type_is_written_right() {
    assert_eq!(policy().types.len(), Compression::TYPES.len());
}

#[test]
fn the_highest_weight_wins_and_our_order_where_they_are_equal() {
    use Coding::*;
    let cases: &[(&[&str], Option<Coding>)] = &[
        (&[], None),
        (&[""], None),
        (&["gzip, deflate, br, zstd"], Some(Zstd)),
        (&["gzip, deflate, br"], Some(Brotli)),
        (&["gzip"], Some(Gzip)),
        (&["X-GZIP"], Some(Gzip)),
        (&["GZip;Q=0.001"], Some(Gzip)),
        (&["deflate"], None),
        (&["identity"], None),
        (&["*"], Some(Zstd)),
        (&["*;q=0"], None),
        (&["zstd;q=0, *"], Some(Brotli)),
        (&["zstd;q=0.5, br;q=0.9, gzip;q=0.8"], Some(Brotli)),
        (&["zstd;q=0", "br ; q=0.000", "gzip ;q=1.000"], Some(Gzip)),
        // Malformed weights are no wish.
        (&["gzip;q=1.001"], None),
        (&["gzip;q=2"], None),
        (&["gzip;q=0.0001"], None),
        (&["gzip;q="], None),
        (&["gzip;level=9"], None),
        (&["gzip;q=1;x=y"], None),
    ];
    for (lines, expected) in cases {
        let fields: Vec<_> = lines.iter().map(|line| ("Accept-Encoding", *line)).collect();
        assert_eq!(policy().negotiate(&request(&fields)), *expected, "{lines:?}");
    }
    let mut old = request(&[("Accept-Encoding", "gzip")]);
    old.version = Version::Http10;
    assert_eq!(policy().negotiate(&old), None);
}

#[test]
fn only_what_may_change_and_gains_is_compressed() {
    use Verdict::*;
    const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");
    let zstd = Encode(Coding::Zstd);
    let cases: &[(u16, Option<u64>, &[(&str, &str)], Verdict)] = &[
        (200, None, &[HTML], zstd),
        (200, Some(1024), &[HTML], zstd),
        (200, Some(1023), &[HTML], Pass),
        (404, None, &[HTML], zstd),
        (503, None, &[HTML], Pass),
        (204, None, &[HTML], Pass),
        (206, Some(5000), &[HTML], Pass),
        (301, None, &[HTML], Pass),
        (200, None, &[], Pass),
        (200, None, &[("Content-Type", "image/png")], Pass),
        (200, None, &[("Content-Type", "font/woff2")], Pass),
        (200, None, &[("Content-Type", "image/svg+xml")], zstd),
        (200, None, &[("Content-Type", "Application/Problem+JSON")], zstd),
        (200, None, &[("Content-Type", "application/wasm")], zstd),
        (200, None, &[("Content-Type", "text/event-stream")], Pass),
        (200, None, &[("Content-Type", "TEXT/Event-Stream;x=y")], Pass),
        (200, None, &[HTML, ("Content-Encoding", "br")], Pass),
        (200, None, &[HTML, ("Cache-Control", "max-age=5, No-Transform")], Pass),
        (200, None, &[HTML, ("Repr-Digest", "sha-256=:AA==:")], Pass),
    ];
    let asked = request(&[("Accept-Encoding", "zstd")]);
    for (status, length, lines, expected) in cases {
        let head = response(*status, lines);
        assert_eq!(policy().decide(&asked, &head, *length), *expected, "{status} {lines:?}");
    }
    // Who cannot take it learns that others could.
    for lines in [&[][..], &[("Accept-Encoding", "deflate")]] {
        assert_eq!(policy().decide(&request(lines), &response(200, &[HTML]), None), Vary);
    }
    let unwilling = request(&[("Accept-Encoding", "zstd"), ("Cache-Control", "no-transform")]);
    assert_eq!(policy().decide(&unwilling, &response(200, &[HTML]), None), Vary);
}

#[test]
fn another_site_cannot_measure_a_secret() {
    let page = ("Content-Type", "text/html");
    for (site, lines, is_encoded) in [
        ("cross-site", &[page][..], false),
        ("Cross-Site", &[page], false),
        ("same-origin", &[page], true),
        ("same-site", &[page], true),
        ("none", &[page], true),
        ("cross-site", &[("Content-Type", "application/json")], false),
        ("cross-site", &[page, ("Cache-Control", "public, max-age=60")], true),
        ("cross-site", &[("Content-Type", "text/javascript")], true),
        ("cross-site", &[("Content-Type", "text/css; charset=utf-8")], true),
        ("cross-site", &[("Content-Type", "image/svg+xml")], true),
    ] {
        let asked = request(&[("Accept-Encoding", "br"), ("Sec-Fetch-Site", site)]);
        let verdict = policy().decide(&asked, &response(200, lines), None);
        let expected = if is_encoded { Verdict::Encode(Coding::Brotli) } else { Verdict::Vary };
        assert_eq!(verdict, expected, "{site} {lines:?}");
    }
}

#[test]
fn a_304_is_about_the_form_that_the_client_has() {
    for (known, etag, expected) in [
        ("W/\"a\"", "\"a\"", Verdict::Confirm),
        ("\"b\", W/\"a\"", "\"a\"", Verdict::Confirm),
        ("\"a\"", "\"a\"", Verdict::Pass),
        ("W/\"a\"", "W/\"a\"", Verdict::Pass),
        ("*", "\"a\"", Verdict::Pass),
    ] {
        let asked = request(&[("If-None-Match", known), ("Accept-Encoding", "gzip")]);
        let head = response(304, &[("ETag", etag)]);
        assert_eq!(policy().decide(&asked, &head, None), expected, "{known} {etag}");
    }
}

#[test]
fn only_what_is_everybodys_for_long_is_kept() {
    let etag = ("ETag", "\"a\"");
    let year = ("Cache-Control", "public, immutable, max-age=31536000");
    let modified = ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    let cases: &[(&[(&str, &str)], Option<&str>)] = &[
        (&[etag, year], Some("\"a\"")),
        (&[etag, ("cache-control", "max-age=86400")], Some("\"a\"")),
        (&[modified, year], Some(modified.1)),
        (&[("ETag", "W/\"a\""), modified, year], Some(modified.1)),
        (&[("ETag", "W/\"a\""), year], None),
        (&[year], None),
        (&[etag], None),
        (&[etag, ("Cache-Control", "max-age=3600")], None),
        (&[etag, ("Cache-Control", "max-age=31536000, private")], None),
        (&[etag, ("Cache-Control", "no-cache"), year], None),
        (&[etag, year, ("Set-Cookie", "a=b")], None),
        (&[etag, year, ("Vary", "Cookie")], None),
        (&[etag, year, ("Vary", "Origin, accept-encoding")], Some("\"a\"")),
        (&[etag, year, ("Vary", "*")], None),
    ];
    for (lines, expected) in cases {
        let head = response(200, lines);
        let kept = keepsake(&request(&[]), &head);
        assert_eq!(kept, expected.map(str::as_bytes), "{lines:?}");
    }
    let authorized = request(&[("Authorization", "Bearer x")]);
    assert_eq!(keepsake(&authorized, &response(200, &[etag, year])), None);
    assert_eq!(keepsake(&request(&[]), &response(404, &[etag, year])), None);
}

#[test]
fn media_ranges_have_one_way_to_be_written() {
    for (range, matching, other) in [
        ("text/*", "TEXT/css", "application/text"),
        ("application/json", "application/JSON", "application/json5"),
        ("*/*+json", "application/ld+json", "application/json"),
        ("image/*+xml", "image/svg+xml", "application/x+xml"),
    ] {
        let range = MediaRange::parse(range).unwrap();
        let matches = |essence: &str| {
            let (kind, what) = essence.split_once('/').unwrap();
            range.matches(kind.as_bytes(), what.as_bytes())
        };
        assert!(matches(matching), "{range:?} {matching}");
        assert!(!matches(other), "{range:?} {other}");
    }
    for bad in
        ["", "text", "*/*", "*", "text/", "/css", "text/css; q=1", "*/json", "text/*x", "a b/c"]
    {
        assert_eq!(MediaRange::parse(bad), None, "{bad}");
    }
}
