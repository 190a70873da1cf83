//! Why a launch does not verify, for whoever holds the secrets: the command line.
//!
//! Guesses what the signer did instead, by doing each of it and comparing. No request is decided
//! here, and nothing of it may be told to one: a guess that is right says that the signer has the
//! secret.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::read::{Part, Read, Sent, by_name, printed, with_line_feeds};
use super::{SigningPolicy, TIMESTAMP};
use crate::policy::query::{Pair, RawPair};
use crate::rejection::Rejection;

/// A launch, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What a signature would have to be of.
    pub canonical: String,
    /// The same with LF in form values, where there is CRLF in any.
    pub with_line_feeds: Option<String>,
    /// Names that came and are left out, in their order.
    pub ignored: Vec<String>,
    /// The timestamp, if there is one and it is one.
    pub timestamp: Option<u64>,
    /// Whether the signature is one of either text, whatever else is wrong; nothing where none can
    /// be read.
    pub fits: Option<bool>,
}

/// Takes a launch apart, whether it is signed or not.
pub fn shown(
    policy: &SigningPolicy,
    query: Option<&str>,
    form: Option<&[u8]>,
) -> Result<Shown, Rejection> {
    let read = Read::of(policy, query, form)?;
    let timestamp = read.timestamp().ok();
    let all = Read::of(&policy.ignoring_nothing(), query, form)?.sent;
    let mut ignored: Vec<String> = Vec::new();
    for Sent { pair, .. } in all.iter().filter(|sent| policy.ignores(&sent.pair.name)) {
        if !ignored.iter().any(|known| *known == *pair.name) {
            ignored.push(pair.name.clone().into_owned());
        }
    }
    let signature = read.signature().ok();
    let mut sent = read.sent;
    sent.sort_by(by_name);
    let canonical = printed(&sent);
    let with_line_feeds = with_line_feeds(&mut sent).then(|| printed(&sent));
    let fits = signature.map(|signature| {
        let forms = std::iter::once(&canonical).chain(&with_line_feeds);
        forms.into_iter().any(|text| policy.matches(text, &signature))
    });
    Ok(Shown { canonical, with_line_feeds, ignored, timestamp, fits })
}

/// What the signer did instead of what should be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guess {
    /// Signed without this parameter, or it was added afterwards.
    Added(String),
    /// Signed with a parameter that is ignored here.
    SignedIgnored,
    /// Signed without the timestamp.
    WithoutTimestamp,
    /// Did not sort.
    Unsorted,
    /// Printed otherwise than `URLSearchParams` does.
    Printed(Printing),
    /// Sorted and printed otherwise.
    UnsortedAndPrinted(Printing),
    /// A `+` was sent as it is, and is a space by now.
    BarePlus,
    /// Signed one part only.
    Only(Part),
    /// Signed CRLF; LF came.
    CarriageReturns,
    /// The query was encoded once more than it should be.
    EncodedTwice,
}

/// How parameters are printed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printing {
    /// Python's `urlencode`, Go's `url.Values.Encode`.
    QuotePlus,
    /// PHP's `http_build_query`.
    Php,
    /// RFC 3986: Python's `quote`, PHP's `PHP_QUERY_RFC3986`.
    Rfc3986,
    /// JavaScript's `encodeURIComponent`.
    UriComponent,
    /// Not at all.
    Plain,
}

impl Printing {
    const ALL: [Printing; 5] = [
        Printing::QuotePlus,
        Printing::Php,
        Printing::Rfc3986,
        Printing::UriComponent,
        Printing::Plain,
    ];

    fn print(self, sent: &[Sent<'_>]) -> String {
        let mut text = String::new();
        for (index, Sent { pair, .. }) in sent.iter().enumerate() {
            if index > 0 {
                text.push('&');
            }
            self.encode(&pair.name, &mut text);
            text.push('=');
            self.encode(&pair.value, &mut text);
        }
        text
    }

    fn encode(self, part: &str, text: &mut String) {
        let bare: &[u8] = match self {
            Printing::QuotePlus | Printing::Rfc3986 => b"-._~",
            Printing::Php => b"-._",
            Printing::UriComponent => b"-._~!*'()",
            Printing::Plain => return text.push_str(part),
        };
        let plus = matches!(self, Printing::QuotePlus | Printing::Php);
        for byte in part.bytes() {
            match byte {
                b' ' if plus => text.push('+'),
                _ if byte.is_ascii_alphanumeric() || bare.contains(&byte) => {
                    text.push(char::from(byte));
                }
                // Writing to a String cannot fail.
                _ => _ = write!(text, "%{byte:02X}"),
            }
        }
    }
}

/// Everything that would make a launch verify of which the signature fits nothing; none where it
/// has no readable signature.
pub fn guesses(
    policy: &SigningPolicy,
    query: Option<&str>,
    form: Option<&[u8]>,
) -> Result<Vec<Guess>, Rejection> {
    let read = Read::of(policy, query, form)?;
    let Ok(signature) = read.signature() else { return Ok(Vec::new()) };
    let fits = |text: &str| policy.matches(text, &signature);
    let as_sent = read.sent;
    let mut sent = as_sent.clone();
    sent.sort_by(by_name);
    let mut found = Vec::new();
    for name in names(&sent) {
        if fits(&printed_of(&sent, |it| *it.pair.name != *name)) {
            found.push(match &*name {
                TIMESTAMP => Guess::WithoutTimestamp,
                _ => Guess::Added(name),
            });
        }
    }
    let mut all = Read::of(&policy.ignoring_nothing(), query, form)?.sent;
    all.sort_by(by_name);
    let (pluses, returns) = (changed(&sent, " ", "+"), changed(&sent, "\n", "\r\n"));
    let tries = [
        (Guess::SignedIgnored, printed(&all)),
        (Guess::Unsorted, printed(&as_sent)),
        (Guess::BarePlus, printed(&pluses)),
        (Guess::Only(Part::Query), printed_of(&sent, |it| it.part == Part::Query)),
        (Guess::Only(Part::Form), printed_of(&sent, |it| it.part == Part::Form)),
        (Guess::CarriageReturns, printed(&returns)),
        (Guess::EncodedTwice, printed(&decoded_again(&sent))),
    ];
    found.extend(tries.into_iter().filter(|(_, text)| fits(text)).map(|(guess, _)| guess));
    for printing in Printing::ALL {
        if fits(&printing.print(&sent)) {
            found.push(Guess::Printed(printing));
        } else if fits(&printing.print(&as_sent)) {
            found.push(Guess::UnsortedAndPrinted(printing));
        }
    }
    Ok(found)
}

/// Each name once.
fn names(sent: &[Sent<'_>]) -> Vec<String> {
    let mut names: Vec<String> = sent.iter().map(|it| it.pair.name.clone().into_owned()).collect();
    names.dedup();
    names
}

fn printed_of(sent: &[Sent<'_>], is_meant: impl Fn(&Sent<'_>) -> bool) -> String {
    let kept: Vec<_> = sent.iter().filter(|it| is_meant(it)).cloned().collect();
    printed(&kept)
}

fn changed<'r>(sent: &[Sent<'r>], from: &str, to: &str) -> Vec<Sent<'r>> {
    let change = |it: &Sent<'r>| {
        let value = Cow::Owned(it.pair.value.replace(from, to));
        Sent { pair: Pair { name: it.pair.name.clone(), value }, part: it.part }
    };
    sent.iter().map(change).collect()
}

fn decoded_again(sent: &[Sent<'_>]) -> Vec<Sent<'static>> {
    let again = |text: &str| {
        let raw = RawPair { name: text.as_bytes(), value: b"" };
        Cow::Owned(raw.decoded_name().into_owned())
    };
    let mut sent: Vec<Sent<'static>> = sent
        .iter()
        .map(|it| {
            let pair = Pair { name: again(&it.pair.name), value: again(&it.pair.value) };
            Sent { pair, part: it.part }
        })
        .collect();
    sent.sort_by(by_name);
    sent
}

impl SigningPolicy {
    fn ignoring_nothing(&self) -> Self {
        Self { ignore: Box::default(), ..self.clone() }
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guess::Added(name) => write!(
                f,
                "it verifies without `{name}`: that was added after signing; sign it too, or name \
                 it in `ignore`"
            ),
            Guess::SignedIgnored => f.write_str(
                "it verifies with the ignored parameters: they must not be signed, or not be in \
                 `ignore`",
            ),
            Guess::WithoutTimestamp => {
                f.write_str("it verifies without `timestamp`: add it before you sign")
            }
            Guess::Unsorted => f.write_str(
                "it verifies unsorted: sort the parameters by name before you sign (params.sort())",
            ),
            Guess::Printed(printing) => {
                write!(f, "it verifies printed {printing}: print it as URLSearchParams does")
            }
            Guess::UnsortedAndPrinted(printing) => write!(
                f,
                "it verifies unsorted and printed {printing}: sort by name and print as \
                 URLSearchParams does"
            ),
            Guess::BarePlus => f.write_str(
                "it verifies with `+` for each space: a `+` stands in the URL where %2B should",
            ),
            Guess::Only(Part::Query) => f.write_str(
                "it verifies with the query alone: sign the fields of the form together with it",
            ),
            Guess::Only(Part::Form) => f.write_str(
                "it verifies with the form alone: sign the parameters of the URL together with it",
            ),
            Guess::CarriageReturns => f.write_str(
                "it verifies with CRLF for each LF: sign LF, which is what counts when a browser \
                 has made it CRLF",
            ),
            Guess::EncodedTwice => {
                f.write_str("it verifies decoded once more: the URL was encoded twice")
            }
        }
    }
}

impl fmt::Display for Printing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Printing::QuotePlus => "with `~` bare and `*` as %2A (Python's urlencode, Go's Encode)",
            Printing::Php => "with `*` as %2A (PHP's http_build_query)",
            Printing::Rfc3986 => "with a space as %20 (RFC 3986)",
            Printing::UriComponent => "with encodeURIComponent",
            Printing::Plain => "without any encoding",
        })
    }
}
