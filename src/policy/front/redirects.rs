//! Where old addresses lead.
//!
//! A redirect is from one path, or with `/*` from all paths below one; paths are canonical and
//! below the persona's own, and a trailing slash makes no difference. The longest wins, an exact
//! one before all. What follows the `*` is appended to the target's `/*`.
//!
//! **Query.** It is kept on the way to a path of the same host, and dropped on the way to an address
//! elsewhere, which must not learn a launch's parameters, unless `keep_query` says otherwise. A
//! target with a query of its own keeps that one alone.
//!
//! What must not happen: a redirect leads to a host that a request names (paths have no empty
//! segments, so that `//evil.example` cannot come of one), or in a circle ([`Redirects::circle`]).

use std::collections::HashMap;

use http::StatusCode;

/// One persona's or site's.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    exact: HashMap<Box<str>, Redirect, foldhash::fast::RandomState>,
    /// Longest first; each ends with `/`.
    below: Vec<(Box<str>, Redirect)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Without its `*`.
    pub to: Box<str>,
    /// What follows the `*` is appended.
    pub appends: bool,
    pub status: StatusCode,
    pub keeps_query: bool,
}

/// How a redirect's path is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    Exactly(Box<str>),
    /// Ends with `/`.
    Below(Box<str>),
}

impl Redirects {
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// False where there is one from there already, which stays.
    pub fn insert(&mut self, from: From, redirect: Redirect) -> bool {
        match from {
            From::Exactly(path) => {
                let is_free = !self.exact.contains_key(&path);
                self.exact.entry(path).or_insert(redirect);
                is_free
            }
            From::Below(path) => {
                if self.below.iter().any(|(other, _)| *other == path) {
                    return false;
                }
                self.below.push((path, redirect));
                self.below.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
                true
            }
        }
    }

    /// Where that path leads, and with which status. `base` is where the persona's paths begin for
    /// the browser, without a trailing slash.
    pub fn find(
        &self,
        path: &str,
        query: Option<&str>,
        base: &str,
    ) -> Option<(StatusCode, String)> {
        if self.is_empty() {
            return None;
        }
        let (redirect, rest) = self.lookup(path)?;
        let mut location = String::new();
        if redirect.to.starts_with('/') {
            location.push_str(base);
        }
        location.push_str(&redirect.to);
        location.push_str(rest);
        if let Some(query) = query.filter(|_| redirect.keeps_query) {
            location.push('?');
            location.push_str(query);
        }
        Some((redirect.status, location))
    }

    fn lookup<'a>(&'a self, path: &'a str) -> Option<(&'a Redirect, &'a str)> {
        let bare = if path == "/" { path } else { path.trim_end_matches('/') };
        if let Some(redirect) = self.exact.get(bare) {
            return Some((redirect, ""));
        }
        self.below
            .iter()
            .find_map(|(from, redirect)| Some((redirect, path.strip_prefix(&**from)?)))
            .map(|(redirect, rest)| (redirect, if redirect.appends { rest } else { "" }))
    }

    /// A path from which redirects never end; `own` takes the host off a target that is ours.
    pub fn circle(&self, own: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut exact: Vec<_> = self.exact.keys().map(|path| path.to_string()).collect();
        exact.sort_unstable();
        let below = self.below.iter().map(|(path, _)| format!("{path}x"));
        let hops = self.exact.len() + self.below.len() + 1;
        exact.into_iter().chain(below).find(|from| {
            let mut path = from.clone();
            for _ in 0..hops {
                let Some((redirect, rest)) = self.lookup(&path) else { return false };
                let to = [&redirect.to, rest].concat();
                let to = if to.starts_with('/') { Some(to) } else { own(&to) };
                let Some(to) = to else { return false };
                path = to.split(['?', '#']).next().unwrap_or_default().to_owned();
            }
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirects(rules: &[(&str, &str)]) -> Redirects {
        let mut redirects = Redirects::default();
        for (from, to) in rules {
            let from = match from.strip_suffix('*') {
                Some(from) => From::Below(from.into()),
                None => From::Exactly((*from).into()),
            };
            let redirect = Redirect {
                to: to.trim_end_matches('*').into(),
                appends: to.ends_with('*'),
                status: StatusCode::PERMANENT_REDIRECT,
                keeps_query: to.starts_with('/') && !to.contains('?'),
            };
            assert!(redirects.insert(from, redirect));
        }
        redirects
    }

    #[test]
    fn an_exact_path_wins_and_then_the_longest() {
        let redirects = redirects(&[
            ("/old", "/new"),
            ("/docs/*", "/manual/*"),
            ("/docs/api/*", "https://api.example/v2/*"),
            ("/docs/api/top", "/top?x=1"),
            ("/gone/*", "/"),
        ]);
        for (path, query, expected) in [
            ("/old", None, Some("/base/new")),
            ("/old/", Some("a=1"), Some("/base/new?a=1")),
            ("/older", None, None),
            ("/docs/a/b", None, Some("/base/manual/a/b")),
            ("/docs/", None, Some("/base/manual/")),
            ("/docs", None, None),
            ("/docs/api/x", Some("user_id=1"), Some("https://api.example/v2/x")),
            ("/docs/api/top", Some("y=2"), Some("/base/top?x=1")),
            ("/gone/a/b", None, Some("/base/")),
            ("/", None, None),
        ] {
            let found = redirects.find(path, query, "/base").map(|(_, to)| to);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_circle_is_found() {
        let own = |to: &str| to.strip_prefix("https://me.example").map(str::to_owned);
        for (rules, is_circle) in [
            (&[("/a", "/b"), ("/b", "/c")][..], false),
            (&[("/a", "/a")], true),
            (&[("/a", "/b"), ("/b", "/a?x")], true),
            (&[("/a", "/a/")], true),
            (&[("/a/*", "/a/b/*")], true),
            (&[("/a/*", "/b/*"), ("/b/*", "/a/*")], true),
            (&[("/a/*", "/b/*"), ("/b/x", "/c")], false),
            (&[("/a", "https://me.example/a")], true),
            (&[("/a", "https://you.example/a")], false),
        ] {
            assert_eq!(redirects(rules).circle(own).is_some(), is_circle, "{rules:?}");
        }
    }
}
