//! The spine: what happens to every request, in order.
//!
//! [`admit`] decides from a head, the facts of its connection, one snapshot and the state that
//! outlives it. It opens no socket and reads no clock; it answers with data: forward this there,
//! redirect, answer, refuse. What it changes is what a decision costs: limits are charged, and a
//! session that another takes the place of is ended.
//!
//! | stage | module |
//! | --- | --- |
//! | what any request must be; which site or persona it is for | here, [`checks`] |
//! | a persona's request: what it is to the app, address limit, session, origin | [`visit`] |
//! | a launch: metadata, whose session, by cookie or path, tenant's limits | [`launch`] |
//! | the page around a chat | [`shell`] |
//! | what we answer ourselves below `/.vestibule/` | [`ours`] |

mod checks;
mod facts;
mod launch;
mod ours;
mod outcome;
mod shell;
mod visit;

use std::sync::Arc;

use http::StatusCode;

use crate::config::snapshot::{AppKind, HttpMode, Persona, Snapshot};
use crate::gate::target::{self, Address};
use crate::http1::head::RequestHead;
use crate::policy::front::password::Attempt;
use crate::policy::limits::{self, AddressPassed, Charge, Client, Moment, Rules};
use crate::policy::origin::Headers;
use crate::policy::session::prefix::{self, Prefixed};
use crate::rejection::{Code, Rejection};
use crate::route::{Match, Target};
use crate::state::limits::{FormMemory, Limiter};
use checks::Locked;
use visit::Visit;

pub use facts::{Ambient, ConnectionFacts, Journal, Scheme, Whole};
pub use outcome::{
    Action, Admission, Answer, AnswerField, Configured, Dress, FileAction, Forward, Framing,
    Handshake, Owner, Passport, StreamOf, Under,
};

/// Decides about one request.
pub fn admit<'h>(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &'h RequestHead,
    ambient: &Ambient<'_>,
) -> Admission<'h> {
    let mut fields = Vec::new();
    let address = match target::address(head) {
        Ok(address) => address,
        Err(rejection) => {
            return Admission { address: None, owner: None, verdict: Err(rejection), fields };
        }
    };
    let mut owner = None;
    let asking = Asking { snapshot, connection, head, address: &address };
    let verdict = decide(&asking, ambient, &mut owner, &mut fields);
    Admission { address: Some(address), owner, verdict, fields }
}

/// A name and a password that a request shows where they are asked for.
#[derive(Debug)]
pub struct Shown {
    pub attempt: Attempt,
    pub client: Client,
    pub tenant: Arc<str>,
    /// What a wrong one costs the client.
    pub rules: Arc<Rules>,
}

/// What has to be verified before the request can be decided about.
pub fn shown(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &RequestHead,
) -> Option<Shown> {
    let address = target::address(head).ok()?;
    let asking = Asking { snapshot, connection, head, address: &address };
    if asking.is_plain() {
        return None;
    }
    let front = match asking.place()?.found.target {
        Target::Site(site) => &site.front,
        target => &target.persona()?.front,
    };
    let client = connection.client_of(&head.fields);
    // Whoever may not come is not listened to either.
    front.addresses.check(client).ok()?;
    let password = front.password.as_ref()?;
    Some(Shown {
        attempt: password.attempt(head)?,
        client: Client::of(client),
        tenant: Arc::clone(&password.tenant),
        rules: Arc::clone(&password.rules),
    })
}

/// How much of the body is needed before the request can be decided about: a form that launches,
/// what the bridge says, or what the page around it tells. Nothing where the decision needs the head alone.
pub fn wanted_body(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &RequestHead,
) -> Option<Whole> {
    if head.method != http::Method::POST || !head.framing.has_body() {
        return None;
    }
    let address = target::address(head).ok()?;
    let asking = Asking { snapshot, connection, head, address: &address };
    if asking.is_plain() {
        return None;
    }
    let place = asking.place()?;
    // A site's requests are its own affair, whatever their paths.
    let persona = place.found.target.persona()?;
    // Whoever may not come is not listened to either.
    persona.front.addresses.check(connection.client_of(&head.fields)).ok()?;
    if let Some(whole) = ours::whole_body(place.below(&address)) {
        return Some(whole);
    }
    let launches = launch::is_form_launch(place.app(persona), head, place.below(&address));
    let most = snapshot.server.limits.form_bytes;
    launches.then_some(Whole { most, beyond: "a form exceeds form_bytes" })
}

/// Whether admitting it may change what a successor process must know exactly: which signatures were
/// used, which sessions have ended, what launches have left for the apps. True for some that turn
/// out not to.
pub fn changes_state(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &RequestHead,
) -> bool {
    let Ok(address) = target::address(head) else { return false };
    let asking = Asking { snapshot, connection, head, address: &address };
    if asking.is_plain() {
        return false;
    }
    let Some(place) = asking.place() else { return false };
    let Some(persona) = place.found.target.persona() else { return false };
    let below = place.below(&address);
    let begins =
        ours::is_config(below) || launch::is_launch(place.app(persona), head, (below, &address));
    let leaves = !persona.variables.is_empty() || persona.injection.is_some();
    let shows = place.prefixed.is_some() || {
        let cookies = head.fields.all(crate::http1::fields::Known::Cookie);
        persona.keys.cookie.values(cookies).next().is_some()
    };
    begins && (persona.signing.is_some() || leaves || shows)
}

/// Sends a request to the process that has what it would change: another connection to the same
/// address leads there.
pub fn send_on<'h>(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &'h RequestHead,
) -> Admission<'h> {
    let address = target::address(head).ok();
    let owner = address.as_ref().and_then(|address| {
        Owner::of(Asking { snapshot, connection, head, address }.place()?.found.target)
    });
    let verdict = Ok(Action::Moved(StatusCode::TEMPORARY_REDIRECT, head.target.clone()));
    let fields = vec![("Cache-Control", "no-store".to_owned())];
    Admission { address, owner, verdict, fields }
}

/// What a form costs its address while it is being read.
#[derive(Debug)]
pub struct Permit {
    passed: AddressPassed,
    rules: Arc<Rules>,
}

impl Permit {
    /// What the form holds while it is being read.
    pub fn memory(&self) -> Option<FormMemory> {
        self.passed.form_memory()
    }

    /// The form is read: [`admit`] charges the launch that it is.
    pub fn give_back(self, now: Moment) {
        let _ = limits::continuation(self.passed, &self.rules, now);
    }
}

/// Charges a form's address before the form is read, so that an address that may not launch cannot
/// make us read either. What the bridge says is small, and was charged with its document; what the
/// page around it tells is smaller still.
pub fn permit(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &RequestHead,
    (limiter, now): (&Limiter, Moment),
) -> Result<Option<Permit>, Rejection> {
    let Ok(address) = target::address(head) else { return Ok(None) };
    let asking = Asking { snapshot, connection, head, address: &address };
    let Some(place) = asking.place() else { return Ok(None) };
    let Some(persona) = place.found.target.persona() else { return Ok(None) };
    if ours::whole_body(place.below(&address)).is_some() {
        return Ok(None);
    }
    let key = (&*persona.tenant, Client::of(connection.client_of(&head.fields)));
    let rules = Arc::clone(&persona.rules);
    let passed = limits::address(limiter, &rules, key, Charge::One, now);
    passed.map(|passed| Some(Permit { passed, rules })).map_err(Rejection::limited)
}

/// A request that passed the gate, and what it is held against.
struct Asking<'a> {
    snapshot: &'a Snapshot,
    connection: &'a ConnectionFacts,
    head: &'a RequestHead,
    address: &'a Address<'a>,
}

/// Where a request's path leads.
struct Place<'a> {
    prefixed: Option<Prefixed<'a>>,
    found: Match<'a>,
}

impl<'a> Place<'a> {
    /// The page around a chat is a page, whatever the app.
    fn app(&self, persona: &Persona) -> AppKind {
        match self.found.target {
            Target::Shell(..) => AppKind::Generic,
            _ => persona.app,
        }
    }

    /// The path without a session's prefix.
    fn path<'p>(&self, address: &'p Address<'_>) -> &'p str
    where
        'a: 'p,
    {
        self.prefixed.map_or(&address.path, |prefixed| prefixed.rest)
    }

    /// The path below the persona's own, and its device's.
    fn below<'p>(&self, address: &'p Address<'_>) -> &'p str
    where
        'a: 'p,
    {
        match self.path(address).get(self.found.prefix_len..) {
            None | Some("") => "/",
            Some(below) => below,
        }
    }
}

impl<'a> Asking<'a> {
    fn is_plain(&self) -> bool {
        self.connection.scheme == Scheme::Http
            && self.snapshot.server.http_mode == HttpMode::Redirect
    }

    /// A session's prefix stands before the path of a persona; sites have none.
    fn place(&self) -> Option<Place<'a>> {
        let (routes, host) = (&self.snapshot.routes, &*self.address.host.name);
        if let Some(prefixed) = prefix::split(&self.address.path) {
            let path = if prefixed.rest.is_empty() { "/" } else { prefixed.rest };
            let found = routes.find(host, path);
            if let Some(found) = found.filter(|found| !matches!(found.target, Target::Site(_))) {
                return Some(Place { prefixed: Some(prefixed), found });
            }
        }
        let found = routes.find(host, &self.address.path)?;
        Some(Place { prefixed: None, found })
    }
}

fn decide(
    asking: &Asking<'_>,
    ambient: &Ambient<'_>,
    owner: &mut Option<Owner>,
    fields: &mut Vec<AnswerField>,
) -> Result<Action, Rejection> {
    let Asking { snapshot, connection, head, address } = *asking;
    checks::expectation(head)?;
    if asking.is_plain() {
        if let Some(file) = checks::challenge(snapshot, head, address) {
            return Ok(file);
        }
        return checks::redirect_to_https(snapshot, address);
    }
    let place = asking
        .place()
        .ok_or(Rejection::new(Code::NotFound, "no persona or site has this address"))?;
    checks::certificate(snapshot, connection, address)?;
    let Some(found) = Owner::of(place.found.target) else {
        let reason = "the tenant's file cannot serve, and there is no version that can";
        return Err(Rejection::new(Code::TenantHeldBack, reason));
    };
    let owner = owner.insert(found);
    ambient.note("route", || owner.describe());
    if place.prefixed.is_none() && prefix::has_prefix(&address.path) {
        // Not a persona's, or no token: whoever is routed here must not see what may be one.
        return Err(Rejection::new(Code::NotFound, "what follows /.v/ is no token of a persona"));
    }
    let _admitted = owner.front().addresses.check(connection.client_of(&head.fields))?;
    let below = place.below(address);
    // They are written for the paths of the app, and the page around its chat is none.
    let is_apps = owner.shell().is_none() && !below.starts_with("/.vestibule/");
    if checks::may_redirect(&head.method) && is_apps {
        let base = address.path.strip_suffix(below).unwrap_or(&address.path);
        let base = base.trim_end_matches('/');
        if let Some((status, to)) = owner.front().redirects.find(below, address.query, base) {
            return Ok(Action::Moved(status, to));
        }
    }
    let websocket = checks::handshake(head)?;
    let locked = Locked::of(owner, head, ambient);
    // What browsers send without a password is for the persona's own rules to let through.
    let may_follow = websocket.is_some() || head.method == http::Method::OPTIONS;
    if let Some(locked) = locked.as_ref().filter(|_| owner.persona().is_none() || !may_follow) {
        return Err(locked.refuse(fields));
    }
    let path = place.path(address);
    let is_prefix = path.is_empty() || path.len() == place.found.prefix_len && path != "/";
    if is_prefix && websocket.is_none() && checks::may_redirect(&head.method) {
        // Relative assets of the page resolve only below the prefix.
        return Ok(Action::Redirect(with_query(&format!("{}/", address.path), address.query)));
    }
    checks::body_limit(snapshot, head)?;
    let path = if path.is_empty() { "/" } else { path };
    let Some(persona) = owner.persona() else {
        let dress = Dress { owner: Some(owner.clone()), ..Dress::default() };
        if let (Owner::Site(site), None) = (&*owner, websocket)
            && let Some(wanted) = site.folders.find(path)
        {
            return checks::file(wanted?, head, address, dress);
        }
        let target = with_query(path, address.query);
        return Ok(Action::Forward(Box::new(Forward {
            target,
            websocket,
            passport: None,
            subprotocols: None,
            supplies_xsrf: false,
            dress,
        })));
    };
    let visit = Visit {
        owner,
        persona,
        head,
        address,
        connection,
        path,
        below: place.below(address),
        prefixed: place.prefixed,
        is_shared: place.found.is_shared,
        websocket,
        locked: locked.as_ref(),
        headers: &Headers::read(&head.fields),
        ambient,
    };
    visit.decide(fields)
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        None => path.to_owned(),
        Some(query) => [path, "?", query].concat(),
    }
}
