//! The session of a request: what it shows, whether that is good, and how it gets another.

use super::Visit;
use crate::http1::fields::Known;
use crate::pipeline::outcome::AnswerField;
use crate::policy::session::{Authentic, Purpose, Session, prefix};
use crate::rejection::{Code, Rejection};

impl Visit<'_> {
    /// The session that the request shows: in its path, or in its cookie.
    pub fn session(&self) -> Result<Session, Rejection> {
        let Some(prefixed) = self.prefixed else { return self.session_by_cookie() };
        if self.headers.is_document {
            return Err(Rejection::new(Code::FrameOnly, "a session's path was opened in a tab"));
        }
        let now = self.ambient.now;
        let token = prefixed.token.as_bytes();
        let authentic = self.persona.keys.verify(Purpose::Path, token, now)?;
        self.alive(authentic)
    }

    pub fn session_by_cookie(&self) -> Result<Session, Rejection> {
        let cookies = self.head.fields.all(Known::Cookie);
        let authentic = self.persona.keys.from_cookies(cookies, self.ambient.now)?;
        self.alive(authentic)
    }

    fn alive(&self, authentic: Authentic) -> Result<Session, Rejection> {
        let sessions = self.ambient.sessions;
        let tenant = &self.persona.tenant;
        let session =
            authentic.alive(self.persona.revoked_before, |id| sessions.is_revoked(tenant, id))?;
        self.ambient.replays.confirm(tenant, &self.persona.name, &session, self.ambient.now);
        if session.identity.is_of(&self.persona.metadata) {
            return Ok(session);
        }
        let why = "the persona's rules have changed, and give nobody this identity";
        Err(Rejection::new(Code::SessionInvalid, why))
    }

    /// The browser has sent a cookie of this persona: it keeps them, whatever this one is worth.
    pub fn keeps_cookies(&self) -> bool {
        self.persona.keys.cookie.values(self.head.fields.all(Known::Cookie)).next().is_some()
    }

    pub fn note_session(&self, session: Option<&Session>) {
        self.ambient.note("session", || match session {
            Some(session) => session.to_string(),
            None => "none".to_owned(),
        });
    }

    pub fn set_cookie(
        &self,
        session: &Session,
        fields: &mut Vec<AnswerField>,
    ) -> Result<(), Rejection> {
        let keys = &self.persona.keys;
        let token = keys.mint(Purpose::Cookie, session)?;
        let (parked, until) = (self.ambient.parked, session.remembered_until(self.ambient.now));
        parked.extend(&self.persona.tenant, &session.id.hash(), until);
        fields.push(("Set-Cookie", keys.cookie.set(&token, session.max_age(self.ambient.now))));
        Ok(())
    }

    /// The prefix under which a page without cookies lives.
    pub fn path_prefix(&self, session: &Session) -> Result<String, Rejection> {
        let session = session.reissued(self.ambient.now, Purpose::Path.lifetime());
        let token = self.persona.keys.mint(Purpose::Path, &session)?;
        Ok(prefix::join(&token, ""))
    }
}
