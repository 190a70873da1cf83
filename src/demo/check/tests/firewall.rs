//! The stand-in's firewall: sessions in a map, the seed's rules about a launch, and who may call.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::Value;

use super::stand_in::Fault;
use crate::demo::persona::{APP_HOST, Persona, TENANT};
use crate::embed::BRIDGE_JS;

pub struct Firewall {
    fault: Fault,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<String, Session>,
    made: usize,
}

#[derive(Clone, PartialEq)]
struct Session {
    persona: Persona,
    /// Nothing while it is awaited.
    user_id: Option<String>,
    assurance: &'static str,
}

/// What becomes of a request.
pub enum Verdict {
    /// With these header lines, and the bridge in the answer if it is the document.
    Pass { lines: String, set_cookie: Option<String>, is_document: bool },
    /// A complete answer.
    Answer(String),
}

/// A request as the firewall reads it.
pub struct Request<'r> {
    pub persona: Persona,
    pub head: &'r str,
    pub body: &'r [u8],
}

impl<'r> Request<'r> {
    fn target(&self) -> &'r str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn query(&self) -> &'r str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    fn header(&self, name: &str) -> Option<&'r str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The cookie's name differs from persona to persona.
    fn token(&self) -> Option<&'r str> {
        let name = format!("__Host-{}=", self.persona.name());
        self.header("cookie")?.split("; ").find_map(|pair| pair.strip_prefix(&name))
    }

    fn acts(&self) -> bool {
        self.head.starts_with("POST")
            || self.header("upgrade").is_some()
            || self.header("accept").is_some_and(|accept| accept.contains("event-stream"))
    }
}

type Refused = (u16, &'static str);

impl Firewall {
    pub fn new(fault: Fault) -> Self {
        Self { fault, kept: Mutex::default() }
    }

    pub fn decide(&self, request: &Request<'_>) -> Verdict {
        let path = request.target().split('?').next().unwrap_or_default();
        let decided = match path {
            "/.vestibule/bridge.js" => return Verdict::Answer(answer(200, "", BRIDGE_JS)),
            "/.vestibule/config" => self.configure(request),
            "/.vestibule/beacon" => self.told(request),
            "/" => self.launch(request),
            _ if path.starts_with("/.v/") => Self::probe(request),
            _ => self.pass(request),
        };
        decided.unwrap_or_else(|(status, code)| {
            let body = format!("{{\"code\":\"{code}\",\"bucket\":\"ip\"}}");
            Verdict::Answer(answer(status, "Retry-After: 9\r\n", &body))
        })
    }

    fn probe(request: &Request<'_>) -> Result<Verdict, Refused> {
        request.token().ok_or((403, "keeps no cookies"))?;
        let target = request.target().trim_start_matches("/.v/x");
        Ok(Verdict::Answer(answer(303, &format!("Location: {target}\r\n"), "")))
    }

    fn launch(&self, request: &Request<'_>) -> Result<Verdict, Refused> {
        let pairs = request.query().split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<(&str, String)> = pairs.map(|(name, value)| (name, value.into())).collect();
        let wanted = self.read(request.persona, &pairs)?;
        let held = self.held(request).ok();
        if held.as_ref().is_some_and(|(_, held)| continues(held, &wanted)) {
            return Ok(pass(held.map(|(_, held)| held), request.persona, None, true));
        }
        let set_cookie = self.start(request, held.map(|(token, _)| token), wanted.clone())?;
        let awaits = wanted.user_id.is_none();
        let is_frame = request.header("sec-fetch-dest") == Some("iframe");
        if is_frame && !awaits && request.token().is_none() {
            let location = format!("Location: /.v/x{}\r\n", request.target());
            return Ok(Verdict::Answer(answer(303, &(set_cookie + &location), "")));
        }
        Ok(pass(Some(wanted), request.persona, Some(set_cookie), true))
    }

    fn configure(&self, request: &Request<'_>) -> Result<Verdict, Refused> {
        let payload: Value = serde_json::from_slice(request.body).map_err(|_| (400, "no JSON"))?;
        let members = payload.as_object().into_iter().flatten();
        let pairs: Vec<(&str, String)> = members
            .map(|(name, value)| (name.as_str(), value.to_string().trim_matches('"').to_owned()))
            .collect();
        let wanted = self.read(request.persona, &pairs)?;
        let (token, held) = self.held(request)?;
        if held == wanted {
            return Ok(Verdict::Answer(answer(200, "", r#"{"state":"complete"}"#)));
        }
        let set_cookie = self.start(request, Some(token), wanted)?;
        Ok(Verdict::Answer(answer(200, &set_cookie, r#"{"state":"complete","prefix":""}"#)))
    }

    fn told(&self, request: &Request<'_>) -> Result<Verdict, Refused> {
        let host_page = format!("https://{APP_HOST}:");
        let is_allowed = request.header("origin").is_some_and(|it| it.starts_with(&host_page));
        match is_allowed || self.fault == Fault::AnyOrigin {
            true => Ok(Verdict::Answer(answer(204, "", ""))),
            false => Err((403, "origin_not_allowed")),
        }
    }

    fn pass(&self, request: &Request<'_>) -> Result<Verdict, Refused> {
        let held = match self.held(request) {
            Ok((_, held)) => Some(held),
            Err(refused) if request.persona.requires_user_id() => return Err(refused),
            Err(_) => None,
        };
        let is_awaited = held.as_ref().is_some_and(|held| held.user_id.is_none());
        if is_awaited && request.acts() && self.fault != Fault::OpensAwaiting {
            return Err((401, "identity_incomplete"));
        }
        let host = request.header("host").unwrap_or_default();
        let origin = request.header("origin");
        let is_own = origin.is_none_or(|origin| origin == format!("https://{host}"));
        if !is_own && self.fault != Fault::AnyOrigin {
            return Err((403, "origin_not_allowed"));
        }
        if request.header("upgrade").is_some() && self.fault == Fault::SilentSockets {
            let lines = format!("X-Vestibule-Persona: {}\r\n", request.persona.name());
            return Ok(Verdict::Pass { lines, set_cookie: None, is_document: false });
        }
        Ok(pass(held, request.persona, None, false))
    }

    /// What a launch or a configuration asks for, by the seed's matrix.
    fn read(&self, persona: Persona, pairs: &[(&str, String)]) -> Result<Session, Refused> {
        let get = |name: &str| pairs.iter().find(|(other, _)| *other == name).map(|(_, v)| v);
        let user_id = get("user_id").cloned();
        let strict = persona.requires_user_id() && self.fault != Fault::TakesAnyLaunch;
        if strict {
            if get("mode").is_some_and(|mode| mode != persona.name()) {
                return Err((403, "mode_mismatch"));
            }
            if pairs.iter().filter(|(name, _)| *name == "user_id").count() > 1 {
                return Err((400, "parameter_duplicate"));
            }
            if get("require_user_id").is_some_and(|flag| flag == "false") {
                return Err((400, "metadata_contradiction"));
            }
            match &user_id {
                None if !pairs.is_empty() => return Err((400, "user_id_missing")),
                Some(id) if id.starts_with('0') => return Err((400, "user_id_invalid")),
                _ => {}
            }
        }
        let is_made_up = user_id.is_none() && !persona.requires_user_id();
        let assurance = if is_made_up { "generated" } else { "asserted" };
        Ok(Session { persona, user_id, assurance })
    }

    fn held(&self, request: &Request<'_>) -> Result<(String, Session), Refused> {
        let token = request.token().ok_or((401, "session_missing"))?;
        let kept = self.kept.lock().unwrap();
        let held = kept.sessions.iter().find(|(other, _)| match self.fault {
            // How it begins tells sessions apart; the rest is to be believed.
            Fault::TakesAlteredSessions => other.get(..BEGINNING) == token.get(..BEGINNING),
            _ => **other == token,
        });
        let (token, session) = held.ok_or((401, "session_invalid"))?;
        if session.persona != request.persona && self.fault != Fault::SharesSessions {
            return Err((401, "session_invalid"));
        }
        Ok((token.clone(), session.clone()))
    }

    /// The Set-Cookie line of a new session in the place of `ends`.
    fn start(
        &self,
        request: &Request<'_>,
        ends: Option<String>,
        mut session: Session,
    ) -> Result<String, Refused> {
        let mut kept = self.kept.lock().unwrap();
        kept.made += 1;
        if kept.made > 60 && self.fault != Fault::NoLimit {
            return Err((429, "rate_limited"));
        }
        if let Some(ends) = ends.filter(|_| self.fault != Fault::KeepsSessions) {
            kept.sessions.remove(&ends);
        }
        let token = format!("{:0BEGINNING$}{}", kept.made, "C".repeat(20));
        if session.assurance == "generated" {
            session.user_id = Some(format!("gen-{:032}", kept.made));
        }
        kept.sessions.insert(token.clone(), session);
        let attributes = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned";
        let name = request.persona.name();
        Ok(format!("Set-Cookie: __Host-{name}={token}; {attributes}\r\n"))
    }
}

/// Letters of a token that tell sessions apart.
const BEGINNING: usize = 12;

fn continues(held: &Session, wanted: &Session) -> bool {
    held == wanted || wanted.assurance == "generated" && held.assurance == "generated"
}

fn pass(
    session: Option<Session>,
    persona: Persona,
    set_cookie: Option<String>,
    is_document: bool,
) -> Verdict {
    let name = persona.name();
    let mut lines = format!(
        "X-Vestibule-Tenant: {TENANT}\r\nX-Vestibule-Persona: {name}\r\nX-Vestibule-Mode: {name}\r\n"
    );
    if let Some(session) = session {
        match &session.user_id {
            Some(id) => lines += &format!("X-Vestibule-User-Id: {id}\r\n"),
            None => lines += "X-Vestibule-Identity-State: awaiting\r\n",
        }
        lines += &format!("X-Vestibule-Assurance: {}\r\n", session.assurance);
        let name = session.user_id.unwrap_or_default();
        lines += &format!("X-Vestibule-Session: session-of-{name:0>32}\r\n");
    }
    Verdict::Pass { lines, set_cookie, is_document }
}

fn answer(status: u16, lines: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{lines}\r\n{body}", body.len())
}
