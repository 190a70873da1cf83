//! The syntax of serialised policies (CSP Level 3, sections 2.2 and 2.3).
//!
//! Reads whatever an upstream sends and writes only what is a valid header value:
//!
//! - A directive that is not ASCII is dropped: browsers skip it too.
//! - A control character cannot be printed. The source expression that holds one is dropped, which
//!   changes nothing (it never matched), and its directive stays: what restricts goes on
//!   restricting. A directive whose name holds one is no directive.
//! - Repeated directives stay where they are; everywhere the first counts.

use smallvec::SmallVec;

/// One policy: directives in the order they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy<'a> {
    pub directives: SmallVec<[Directive<'a>; 12]>,
}

/// A directive, by the name that was sent; compare it with [`Directive::is`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<'a> {
    pub name: &'a str,
    pub values: SmallVec<[&'a str; 8]>,
}

/// The policies of one header field. Those without a directive are no policies.
pub fn policies(field: &[u8]) -> impl Iterator<Item = Policy<'_>> {
    field.split(|&byte| byte == b',').map(policy).filter(|policy| !policy.directives.is_empty())
}

fn policy(text: &[u8]) -> Policy<'_> {
    Policy { directives: text.split(|&byte| byte == b';').filter_map(directive).collect() }
}

fn directive(text: &[u8]) -> Option<Directive<'_>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let mut words = text.split([' ', '\t', '\n', '\r', '\x0c']).filter(|word| !word.is_empty());
    let name = words.next().filter(|name| is_printable(name))?;
    Some(Directive { name, values: words.filter(|word| is_printable(word)).collect() })
}

fn is_printable(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<'a> Policy<'a> {
    /// Where the directive of that name stands; the first counts.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.directives.iter().position(|directive| directive.is(name))
    }

    pub fn get(&self, name: &str) -> Option<&Directive<'a>> {
        self.directives.iter().find(|directive| directive.is(name))
    }

    /// The directive that governs `names[0]`: the first of the fallback list that is present.
    pub fn governing(&self, names: &[&str]) -> Option<&Directive<'a>> {
        names.iter().find_map(|name| self.get(name))
    }

    pub fn write(&self, out: &mut String) {
        for (index, directive) in self.directives.iter().enumerate() {
            if index > 0 {
                out.push_str("; ");
            }
            out.extend(directive.name.chars().map(|letter| letter.to_ascii_lowercase()));
            for value in &directive.values {
                out.push(' ');
                out.push_str(value);
            }
        }
    }
}

impl Directive<'_> {
    /// Names are compared without case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// One header value with all of these policies.
pub fn serialise<'p, 'a: 'p>(policies: impl IntoIterator<Item = &'p Policy<'a>>) -> String {
    let mut out = String::new();
    for policy in policies {
        if !out.is_empty() {
            out.push_str(", ");
        }
        policy.write(&mut out);
    }
    out
}
