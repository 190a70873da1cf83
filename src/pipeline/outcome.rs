//! What a decision comes to: data that `edge` carries out.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;

use crate::compress::Order;
use crate::config::snapshot::{AppKind, Persona, Shell, Site, Upstream};
use crate::gate::target::Address;
use crate::policy::beacon::Told;
use crate::policy::beacon::launch::Launch;
use crate::policy::csp::CompiledCsp;
use crate::policy::front::Front;
use crate::policy::front::folders::Wanted;
use crate::policy::identity::{Identity, SessionHash};
use crate::policy::metadata::Direction;
use crate::policy::session::{SessionId, UnixSeconds};
use crate::policy::shared_host::Scope;
use crate::rejection::Rejection;
use crate::route::Target;
use crate::state::jar::Jars;
use crate::state::parked::Launched;

/// Whose address it is.
#[derive(Debug, Clone)]
pub enum Owner {
    Persona(Arc<Persona>),
    /// A persona's device: an index into its `devices`.
    Device(Arc<Persona>, usize),
    /// A page around a persona's chat: an index into its `shells`.
    Shell(Arc<Persona>, usize),
    Site(Arc<Site>),
}

impl Owner {
    /// None where nobody serves.
    pub fn of(target: &Target) -> Option<Self> {
        Some(match target {
            Target::HeldBack(_) => return None,
            Target::Persona(persona) => Owner::Persona(Arc::clone(persona)),
            Target::Device(persona, index) => Owner::Device(Arc::clone(persona), *index),
            Target::Shell(persona, index) => Owner::Shell(Arc::clone(persona), *index),
            Target::Site(site) => Owner::Site(Arc::clone(site)),
        })
    }

    pub fn tenant(&self) -> &Arc<str> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                &persona.tenant
            }
            Owner::Site(site) => &site.tenant,
        }
    }

    /// The persona's or the site's name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                &persona.name
            }
            Owner::Site(site) => &site.name,
        }
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                &persona.upstream
            }
            Owner::Site(site) => &site.upstream,
        }
    }

    pub fn front(&self) -> &Front {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                &persona.front
            }
            Owner::Site(site) => &site.front,
        }
    }

    pub fn persona(&self) -> Option<&Arc<Persona>> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                Some(persona)
            }
            Owner::Site(_) => None,
        }
    }

    /// The page around the chat that is asked for.
    pub fn shell(&self) -> Option<&Shell> {
        match self {
            Owner::Shell(persona, index) => persona.shells.pages.get(*index),
            Owner::Persona(_) | Owner::Device(..) | Owner::Site(_) => None,
        }
    }

    /// For `explain`.
    pub(super) fn describe(&self) -> String {
        let what = match self {
            Owner::Site(_) => "site",
            Owner::Persona(_) | Owner::Device(..) => "persona",
            Owner::Shell(..) => "page around the chat of persona",
        };
        let device = self.device().map_or_else(String::new, |slug| format!(", device {slug}"));
        format!("{what} {}/{}{device}", self.tenant(), self.name())
    }

    /// The slug of the device.
    pub fn device(&self) -> Option<&Arc<str>> {
        match self {
            Owner::Device(persona, index) => persona.devices.get(*index).map(|one| &one.slug),
            Owner::Shell(persona, _) => {
                let index = self.shell().and_then(|shell| shell.device)?;
                persona.devices.get(index).map(|one| &one.slug)
            }
            Owner::Persona(_) | Owner::Site(_) => None,
        }
    }

    pub(super) fn strips_prefix(&self) -> bool {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => persona.strip_prefix,
            Owner::Shell(..) | Owner::Site(_) => false,
        }
    }
}

/// The answer of [`super::admit`].
#[derive(Debug)]
pub struct Admission<'h> {
    /// Present once the gate was passed.
    pub address: Option<Address<'h>>,
    /// Present once the route was found.
    pub owner: Option<Owner>,
    pub verdict: Result<Action, Rejection>,
    /// What joins the answer, whoever gives it: cookies, limits, CORS.
    pub fields: Vec<AnswerField>,
}

/// Name and value.
pub type AnswerField = (&'static str, String);

#[derive(Debug)]
pub enum Action {
    Forward(Box<Forward>),
    /// 308 to this location.
    Redirect(String),
    /// To this location, as the operator says.
    Moved(StatusCode, String),
    /// 303 to this location: the next step of a launch.
    SeeOther(String),
    /// A file, if it is there.
    File(Box<FileAction>),
    /// Answered here, in the app's place.
    Answer(Answer),
}

/// A file that answers in an upstream's place.
#[derive(Debug)]
pub struct FileAction {
    pub wanted: Wanted,
    /// As it is said; else by the file's name.
    pub media_type: Option<&'static str>,
    /// Where its path leads without a trailing slash, if it is a folder.
    pub as_folder: Option<String>,
    pub dress: Dress,
}

/// An answer of ours.
#[derive(Debug)]
pub enum Answer {
    /// Streamlit's `/_stcore/host-config` of this persona.
    HostConfig(Arc<Persona>),
    /// 204: what a script of another origin may send is in the fields.
    Preflight,
    /// The bridge script.
    Bridge,
    /// The bridge has said who is asking.
    Configured(Configured),
    /// 204: the page around the chat has told how its handshake went.
    Told(Box<Told>),
    /// A page that waits for the bridge, in the app's place.
    Waiting(Owner),
    /// The script of the pages around a chat.
    ShellScript,
    /// A page around a chat, which is at this address.
    Shell { owner: Owner, chat: String },
}

/// What a configuration by the bridge has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configured {
    /// The session has that identity already.
    Already,
    /// A new session began: the document is to be loaded again, below this prefix, which is empty
    /// where the browser keeps cookies.
    Anew { prefix: String },
}

/// Where a request goes.
#[derive(Debug)]
pub struct Forward {
    /// Path and query as the upstream receives them.
    pub target: String,
    pub websocket: Option<Handshake>,
    /// Who is asking; none at a site.
    pub passport: Option<Passport>,
    /// `Sec-WebSocket-Protocol`, where it is not what the client sent.
    pub subprotocols: Option<Vec<u8>>,
    /// The `X-Xsrftoken` that a page without cookies cannot read.
    pub supplies_xsrf: bool,
    pub dress: Dress,
}

/// Who is asking, as the app is told.
#[derive(Debug)]
pub struct Passport {
    pub persona: Arc<Persona>,
    pub identity: Identity,
    pub session: Option<SessionHash>,
    /// What the launch brought: short variables travel with every request.
    pub launched: Option<Arc<Launched>>,
    /// The stream that the request opens ends with this session.
    pub stream: Option<StreamOf>,
}

/// The session of a stream, and when it was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOf {
    pub session: SessionId,
    pub launched_at: UnixSeconds,
}

/// What is done to the upstream's answer on its way out.
#[derive(Debug, Default)]
pub struct Dress {
    pub owner: Option<Owner>,
    pub framing: Framing,
    /// The bridge's script element is written into it, if it is HTML.
    pub bridge: bool,
    /// What the bridge tells the page around it of where this request stands in its trace.
    pub launch: Option<Box<Launch>>,
    /// The upstream's own `Access-Control-*` gives way to ours.
    pub replaces_cors: bool,
    pub fields: Vec<AnswerField>,
    /// The page lives below `/.v/TOKEN`.
    pub under: Option<Under>,
    /// Of text, as the session's launch has it.
    pub direction: Option<Direction>,
    /// The browser came by https: HSTS may be said.
    pub is_https: bool,
    /// Present where answers may be compressed.
    pub order: Option<Order>,
    /// The host is other tenants' too: this much of it is the app's.
    pub scope: Option<Box<Scope>>,
}

/// A page whose session stands in its path. Its browser keeps no cookies: the app's are kept here.
#[derive(Debug, Clone)]
pub struct Under {
    pub jars: Arc<Jars>,
    pub tenant: Arc<str>,
    pub session: SessionId,
    /// When the session's token expires, and with it the app's cookies that are kept for it.
    pub until: UnixSeconds,
    pub now: UnixSeconds,
    /// `/.v/TOKEN`
    pub prefix: String,
    /// The path that the app's cookies are matched against.
    pub path: String,
    /// As a browser would write it.
    pub origin: String,
}

impl Under {
    /// The app's cookies that this request would carry.
    pub fn cookies(&self) -> Option<String> {
        self.jars.header(&self.tenant, self.session, &self.path, self.now)
    }

    /// One of the app's cookies.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jars.value(&self.tenant, self.session, name, self.now)
    }

    /// Takes a cookie of the app. One that finds no room is lost, as in a browser's full store.
    pub fn keep(&self, set_cookie: &[u8]) {
        let (tenant, path) = (&self.tenant, &self.path);
        let _ = self.jars.take(tenant, self.session, set_cookie, path, self.now, self.until);
    }

    /// A Location of the app, so that the page does not lose its prefix.
    pub fn located<'v>(&self, location: &'v [u8]) -> Cow<'v, [u8]> {
        let path = match location.strip_prefix(self.origin.as_bytes()) {
            Some([]) => b"/",
            Some(path) => path,
            None => location,
        };
        match path {
            [b'/', b'/', ..] => Cow::Borrowed(location),
            [b'/', ..] => Cow::Owned([self.prefix.as_bytes(), path].concat()),
            _ => Cow::Borrowed(location),
        }
    }
}

/// Which answers say who may frame them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Those that are HTML.
    #[default]
    Html,
    /// Every one: this path is a document, and a 304 of it too.
    Document,
}

impl Dress {
    /// The framing policy of the owner.
    pub fn csp(&self) -> Option<&CompiledCsp> {
        match self.owner.as_ref()? {
            Owner::Persona(persona) | Owner::Device(persona, _) => Some(&persona.framing),
            Owner::Shell(persona, _) => Some(&persona.shells.framing),
            Owner::Site(site) => Some(&site.framing),
        }
    }

    /// Whether Streamlit's cookies need to work inside a frame of another site.
    pub fn frames_streamlit(&self) -> bool {
        self.owner.as_ref().and_then(Owner::persona).is_some_and(|p| p.app == AppKind::Streamlit)
    }
}

/// A WebSocket handshake that is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// HTTP/1.1: the client's own key passes.
    Upgrade,
    /// HTTP/2 extended CONNECT: a key is made for the upstream.
    Connect,
}
