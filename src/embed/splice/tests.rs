use proptest::prelude::*;

use super::*;

const TAG: &str = "[TAG]";

/// What comes out of pieces, where the receiver takes at most `most` bytes at a time.
fn spliced(pieces: &[&[u8]], most: usize) -> Vec<u8> {
    let mut splice = Splice::new(TAG.as_bytes().into());
    let mut out = Vec::new();
    let drain = |splice: &mut Splice, out: &mut Vec<u8>| {
        while !splice.own().is_empty() {
            let count = splice.own().len().min(most);
            out.extend_from_slice(&splice.own()[..count]);
            splice.sent(count);
        }
    };
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            drain(&mut splice, &mut out);
            let count = match splice.look(piece) {
                Look::Pass(count) => {
                    let count = count.min(most);
                    out.extend_from_slice(&piece[..count]);
                    splice.passed(count);
                    count
                }
                Look::Took(count) => count,
                Look::Own if splice.is_over() => {
                    out.extend_from_slice(piece);
                    piece.len()
                }
                Look::Own => {
                    assert!(!splice.own().is_empty(), "it says what to do");
                    0
                }
            };
            piece = &piece[count..];
            assert!(splice.held.len <= TOKEN);
        }
    }
    drain(&mut splice, &mut out);
    splice.end();
    drain(&mut splice, &mut out);
    assert!(splice.is_over());
    out
}

/// Whole, in two pieces cut anywhere, and byte by byte.
fn check(expected: &str) {
    let document = expected.replacen('|', "", 1);
    let expected = expected.replacen('|', TAG, 1).into_bytes();
    let bytes = document.as_bytes();
    let shown = |out: Vec<u8>| String::from_utf8_lossy(&out).into_owned();
    let wanted = shown(expected);
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        for most in [1, 2, 4, usize::MAX] {
            assert_eq!(shown(spliced(&[first, second], most)), wanted, "cut at {at}, {most}");
        }
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(shown(spliced(&single, 1)), wanted, "byte by byte");
}

#[test]
fn the_tag_follows_the_heads_start_tag() {
    for document in [
        "<head>|",
        "<!doctype html><html lang=en><head>|<title>x</title></head><body></body></html>",
        "<HTML><HEAD>|<head>",
        "<head\n>|x",
        "<head/>|<body>",
        "<head a=\"x>y\" b='>' c=d/>|<body>",
        "<head a = \">\" b>|",
        "<head a=\">\"b='>'>|",
        "<head/a=\">\">|",
        "<head a=x\"y>|\">",
        "<head a\"b>|\">",
        "<head =\"x>|\">",
        "<head ==\">\">|",
        "<head a=>|\">",
        "<html data-x='<head>'><head>|",
        "  \r\n\t\x0C<head>|",
        "\u{FEFF}<head>|",
        "\u{FEFF}<!doctype html>\n<html><head>|",
        "<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"-//W3C//DTD\"><html><head>|",
        "<!><!x><!-><!-x><![CDATA[ <head]]><head>|",
    ] {
        check(document);
    }
}

#[test]
fn a_comment_holds_no_head_and_ends_where_browsers_end_it() {
    for document in [
        "<!-- <head> --><head>|",
        "<!--<head>-- ><head>--->|<body>",
        "<!--><head>|-->",
        "<!---><head>|-->",
        "<!----><head>|",
        "<!--a--!><head>|",
        "<!--a--!-><head>--><head>|",
        "<!--a--!--><head>|",
        "<!----!><head>|",
        "<!--!><head>--><head>|",
        "<!---!><head>--><head>|",
        "<!-- <!-- --><head>|-->",
        "<!-- <head>|",
        "<!-- -- > - -> <head> ->|",
    ] {
        check(document);
    }
}

#[test]
fn without_a_head_the_tag_precedes_what_opens_one() {
    for document in [
        "|<body>",
        "<html>|<body class=x>",
        "<!doctype html><!-- c -->|<title><head></title>",
        "<html>\n|<script>'<head>'</script>",
        "|<header><head>",
        "|<heading>",
        "|<headx",
        "|<htm>",
        "|<html5>",
        "|</html><head>",
        "|</",
        "|hello <head>",
        "|< head>",
        "|<1>",
        "|\u{FF21}<head>",
        "\u{FEFF}|\u{FEFF}<head>",
        " |\u{FEFF}<head>",
        "|&nbsp;<head>",
        "|\0<head>",
    ] {
        check(document);
    }
}

#[test]
fn a_document_that_ends_before_gets_it_at_its_end() {
    for document in [
        "|",
        " \n|",
        "<!doctype html>|",
        "<!doctype html|",
        "<html>|",
        "<html |",
        "|<",
        "|<he",
        "|<head",
        "<html>|<htm",
        "<head a=\"|",
        "<!--|",
        "<!|",
    ] {
        check(document);
    }
}

#[test]
fn utf_16_is_left_readable() {
    for document in [b"\xFF\xFE<\0h\0e\0a\0d\0>\0", b"\xFE\xFF\0<\0h\0e\0a\0d\0>"] {
        let whole = spliced(&[document], usize::MAX);
        assert_eq!(whole, [document, TAG.as_bytes()].concat());
        let single: Vec<&[u8]> = document.chunks(1).collect();
        assert_eq!(spliced(&single, 1), whole);
    }
}

#[test]
fn only_an_answer_with_a_whole_readable_body_fits() {
    let head = |framing, status: u16, coding: Option<&str>| {
        let mut head = ResponseHead { framing, ..ResponseHead::default() };
        head.status = StatusCode::from_u16(status).unwrap();
        if let Some(coding) = coding {
            head.fields.push(b"content-encoding", coding.as_bytes());
        }
        head
    };
    for (framing, status, coding, fits) in [
        (Framing::Chunked, 200, None, true),
        (Framing::UntilClose, 404, Some("Identity"), true),
        (Framing::Length(1), 200, None, true),
        (Framing::Length(0), 200, None, false),
        (Framing::Empty, 200, None, false),
        (Framing::Empty, 304, None, false),
        (Framing::Length(9), 206, None, false),
        (Framing::Chunked, 200, Some("gzip"), false),
        (Framing::Chunked, 200, Some("identity, br"), false),
        (Framing::Chunked, 200, Some(""), false),
    ] {
        let head = head(framing, status, coding);
        assert_eq!(Splice::fits(&head), fits, "{framing:?} {status} {coding:?}");
    }
}

#[test]
fn an_empty_tag_changes_nothing() {
    let splice = Splice::new([].as_slice().into());
    assert!(splice.is_over());
    assert_eq!(splice.framing(Framing::Length(7)), Framing::Length(7));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pieces_do_not_matter(
        parts in prop::collection::vec(prop::sample::select(&[
            "<", ">", "head", "HTML", "<head", "<html ", "<!--", "--", "-", "!", "->", "\"", "'",
            "=", "/", " ", "\n", "a", "<!doctype html>", "<?", "\u{FEFF}", "<body>", "é", "\0",
        ][..]), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        most in 1usize..9,
    ) {
        let document = parts.concat().into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(document.len() + 1)).collect();
        at.extend([0, document.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &document[pair[0]..pair[1]]).collect();
        let out = spliced(&pieces, most);
        prop_assert_eq!(&out, &spliced(&[&document], usize::MAX));
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.matches(TAG).count(), 1);
        prop_assert_eq!(text.replacen(TAG, "", 1).into_bytes(), document);
    }
}
