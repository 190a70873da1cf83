//! The page around a chat.
//!
//! The page itself is nobody's secret; the chat in it is the launch. So what the page is asked with
//! meets every rule of a launch, that whoever signed wrongly hears it at once, but nothing begins
//! and nothing is used up: query and signature go on to the frame, whose document launches with
//! them. A form cannot go on by itself: it is the launch, and its 303 leads back here.
//!
//! A preview opens with its token, which goes no further. Where launches are signed we sign for
//! whoever has it, but not for a user: that takes the tenant's own signature.
//!
//! What must not happen: the token, or a query that was refused, reaches the chat.

use http::Method;

use super::outcome::{Action, Answer, AnswerField};
use super::visit::Visit;
use super::{launch, with_query};
use crate::config::snapshot::Shell;
use crate::policy::launch::{Kind, Launch};
use crate::policy::limits::{Charge, Part, counts};
use crate::policy::metadata::USER_ID;
use crate::policy::query::raw_pairs;
use crate::policy::secret::Secret;
use crate::policy::signature::{SIGNATURE, TIMESTAMP};
use crate::rejection::{Code, Rejection};

/// The parameter that opens a preview.
const TOKEN: &str = "token";

pub(super) fn decide(
    visit: &Visit<'_>,
    shell: &Shell,
    kind: Kind,
    fields: &mut Vec<AnswerField>,
) -> Result<Action, Rejection> {
    if visit.below != "/" || visit.websocket.is_some() {
        return Err(Rejection::new(
            Code::NotFound,
            "below the page around a chat there is nothing",
        ));
    }
    match (&visit.head.method, &shell.token) {
        (&Method::GET | &Method::HEAD, Some(token)) => preview(visit, shell, token),
        (&Method::GET | &Method::HEAD, None) => page(visit, shell, fields),
        (&Method::POST, None) if kind == Kind::Launch(Launch::Post) => {
            launch::decide(visit, kind, fields)
        }
        _ => Err(Rejection::new(Code::MethodNotAllowed, "not how the page around a chat opens")),
    }
}

fn page(
    visit: &Visit<'_>,
    shell: &Shell,
    fields: &mut Vec<AnswerField>,
) -> Result<Action, Rejection> {
    let held = visit.session();
    let leads_back = launch::leads_back(visit, &held, false);
    let part = launch::part(visit, &held, leads_back);
    let passed = visit.address_limit(counts(Kind::Launch(Launch::Get), part))?;
    if let Some(to) = launch::allowed(visit, held, leads_back, fields)? {
        return Ok(to);
    }
    // The chat in it is charged.
    if part == Part::First {
        visit.take_back(passed);
    }
    let prefix = visit.prefixed.map_or_else(String::new, |it| ["/.v/", it.token].concat());
    if !prefix.is_empty() {
        fields.push(("Referrer-Policy", "same-origin".to_owned()));
    }
    let path = [&*prefix, &*shell.chat].concat();
    Ok(shown(visit, with_query(&path, visit.address.query)))
}

fn preview(visit: &Visit<'_>, shell: &Shell, token: &Secret) -> Result<Action, Rejection> {
    // A guess costs what a launch costs.
    let passed = visit.address_limit(Charge::One)?;
    let (said, query) = without_token(visit.address.query)?;
    match said {
        None => return Err(Rejection::new(Code::TokenMissing, "a preview without its token")),
        Some(said) if !token.is(said.as_bytes()) => {
            return Err(Rejection::new(Code::TokenInvalid, "not the token of this preview"));
        }
        Some(_) => visit.take_back(passed),
    }
    visit.ambient.note("preview", || "its token was shown".to_owned());
    let query = match &visit.persona.signing {
        Some(signing) if !names(&query, SIGNATURE) => {
            // A moment of somebody's own choice would be signed for then.
            if names(&query, USER_ID) || names(&query, TIMESTAMP) {
                let why = "a preview for a user or a moment, which nobody signed";
                return Err(Rejection::new(Code::SignatureMissing, why).with_detail(
                    "A preview opens for nobody in particular, and now: leave user_id and timestamp \
                     out, or sign the launch.",
                ));
            }
            signing.sign(&query, visit.ambient.now.0.saturating_mul(1000))?
        }
        _ => query,
    };
    let query = (!query.is_empty()).then_some(&*query);
    Ok(shown(visit, with_query(&shell.chat, query)))
}

fn shown(visit: &Visit<'_>, chat: String) -> Action {
    Action::Answer(Answer::Shell { owner: visit.owner.clone(), chat })
}

/// The token, and the query without it.
fn without_token(query: Option<&str>) -> Result<(Option<String>, String), Rejection> {
    let mut said = None;
    let mut rest = Vec::new();
    for piece in query.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
        match raw_pairs(piece.as_bytes()).next().map(|pair| pair.decoded()) {
            Some(pair) if pair.name == TOKEN => {
                if said.replace(pair.value.into_owned()).is_some() {
                    return Err(Rejection::new(Code::ParameterDuplicate, "two tokens"));
                }
            }
            _ => rest.push(piece),
        }
    }
    Ok((said, rest.join("&")))
}

fn names(query: &str, name: &str) -> bool {
    raw_pairs(query.as_bytes()).any(|pair| pair.decoded_name() == name)
}
