//! What the app gets to see of a request that may pass: where to, as whom, and how the answer is dressed.

use std::sync::Arc;

use super::{Passed, Visit};
use crate::apps::streamlit::{Endpoint, resume};
use crate::config::snapshot::AppKind;
use crate::http1::fields::Known;
use crate::pipeline::outcome::{Action, Dress, Forward, Framing, Passport, StreamOf, Under};
use crate::pipeline::with_query;
use crate::policy::identity::{Behind, Identity};
use crate::policy::metadata::UserIdRule;
use crate::policy::origin::Reach;
use crate::policy::session::{Predecessor, Session};
use crate::policy::shared_host::Scope;
use crate::state::parked::Launched;

/// For how long a session that took another's place must not resume its pages: Streamlit keeps a
/// session whose stream has ended for two minutes.
const RESUMABLE: u64 = 150;

impl Visit<'_> {
    /// What the app gets to see.
    pub fn forward(
        &self,
        _: Passed,
        session: Option<Session>,
        (framing, query): (Framing, Option<&str>),
        (endpoint, behind): (Endpoint, Behind),
    ) -> Action {
        let target = if self.owner.strips_prefix() { self.below } else { self.path };
        let scheme = self.connection.scheme_of(&self.head.fields).as_str();
        let under = self.prefixed.zip(session.as_ref()).map(|(prefixed, session)| Under {
            jars: Arc::clone(self.ambient.jars),
            tenant: Arc::clone(&self.persona.tenant),
            session: session.id,
            until: session.expires_at,
            now: self.ambient.now,
            prefix: ["/.v/", prefixed.token].concat(),
            path: target.to_owned(),
            origin: [scheme, "://", self.address.authority].concat(),
        });
        let subprotocols = self.subprotocols(session.as_ref());
        let dress = Dress {
            owner: Some(self.owner.clone()),
            framing,
            bridge: self.persona.metadata.bridge && framing == Framing::Document,
            launch: None,
            replaces_cors: Reach::of(self.persona.app) == Reach::EmbedOrigins,
            fields: Vec::new(),
            under,
            direction: session.as_ref().and_then(|session| session.identity.direction),
            is_https: false,
            order: None,
            scope: self.is_shared.then(|| {
                let own = self.path.strip_suffix(self.below);
                let scope = Scope::new(own.unwrap_or(self.path), self.owner.strips_prefix());
                Box::new(if own.is_none() { scope.exact() } else { scope })
            }),
        };
        Action::Forward(Box::new(Forward {
            target: with_query(target, query),
            websocket: self.websocket,
            passport: Some(self.passport(session, behind)),
            subprotocols,
            supplies_xsrf: dress.under.is_some() && endpoint == Endpoint::Upload,
            dress,
        }))
    }

    fn passport(&self, session: Option<Session>, behind: Behind) -> Passport {
        let persona = Arc::clone(self.persona);
        match session {
            Some(session) => Passport {
                launched: self.launched(&session),
                persona,
                session: Some(session.id.hash()),
                stream: (behind == Behind::Stream)
                    .then_some(StreamOf { session: session.id, launched_at: session.launched_at }),
                identity: session.identity,
            },
            None => {
                let device = self.owner.device().map(|slug| &**slug);
                let identity = Identity::anonymous(self.persona.mode, device);
                Passport { persona, identity, session: None, stream: None, launched: None }
            }
        }
    }

    /// Pages of the session before this one may still call, with its cookie.
    pub fn may_be_anothers(&self, session: &Session) -> bool {
        let age = self.ambient.now.0.saturating_sub(session.launched_at.0);
        session.predecessor == Predecessor::Ended && age < RESUMABLE
    }

    /// What the session's launch brought, where some of it travels in headers.
    fn launched(&self, session: &Session) -> Option<Arc<Launched>> {
        if self.persona.variables.is_empty() {
            return None;
        }
        let (parked, tenant) = (self.ambient.parked, &self.persona.tenant);
        parked.get(tenant, &self.persona.name, &session.id.hash(), self.ambient.now)
    }

    /// Without the resume id of a page whose session this one has ended.
    fn subprotocols(&self, session: Option<&Session>) -> Option<Vec<u8>> {
        let may_be_anothers = match session {
            Some(session) => self.may_be_anothers(session),
            // Where a session is not needed, the page of one that has ended goes on as nobody.
            None => self.persona.metadata.user_id != UserIdRule::None && self.keeps_cookies(),
        };
        if self.persona.app != AppKind::Streamlit || !may_be_anothers {
            return None;
        }
        // However many lines they come in: the app reads them as one list.
        let lines: Vec<&[u8]> = self.head.fields.all(Known::SecWebSocketProtocol).collect();
        resume::without_resume_id(&lines.join(&b", "[..]))
    }
}
