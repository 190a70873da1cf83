//! The demo's four personas and its host page's address, told once.
//!
//! Certificates, the configuration's test, the backend and the checks all read this list. What an
//! identity must look like is the persona seed's matrix; it is checked here for the backend, which
//! must not rely on the page having checked.

use serde::Deserialize;
use serde_json::Value;

/// Where the host page is served.
pub const APP_HOST: &str = "app.localhost";
pub const TENANT: &str = "jasser";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    Public,
    Customer,
    Employee,
    Test,
}

/// What the launch or the page says about who is asking. Nothing in it is proven.
#[derive(Debug, Default, Deserialize)]
pub struct Claim {
    pub mode: Option<String>,
    /// A JSON number from the host page's payload, or a string.
    pub user_id: Option<Value>,
}

/// Why a claim does not fit the persona.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    Mode,
    UserIdMissing,
    UserIdMalformed,
}

impl Mismatch {
    /// The public code, as the contract spells it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Mode => "mode_mismatch",
            Self::UserIdMissing => "user_id_missing",
            Self::UserIdMalformed => "user_id_malformed",
        }
    }
}

impl Persona {
    pub const ALL: [Persona; 4] = [Self::Public, Self::Customer, Self::Employee, Self::Test];

    /// Its name, its mode, and the middle of its host.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Customer => "customer",
            Self::Employee => "employee",
            Self::Test => "test",
        }
    }

    /// As the launcher writes it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Public => "Public",
            Self::Customer => "Customer",
            Self::Employee => "Employee",
            Self::Test => "Test",
        }
    }

    pub fn host(self) -> &'static str {
        match self {
            Self::Public => "chat-public.localhost",
            Self::Customer => "chat-customer.localhost",
            Self::Employee => "chat-employee.localhost",
            Self::Test => "chat-test.localhost",
        }
    }

    pub fn of_host(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|persona| persona.host() == host)
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|persona| persona.name() == name)
    }

    pub fn requires_user_id(self) -> bool {
        matches!(self, Self::Customer | Self::Employee)
    }

    pub fn allows_generated_id(self) -> bool {
        !self.requires_user_id()
    }

    /// The user id that this claim makes, when it fits: customers and employees are numbers, others
    /// are tokens and may be absent.
    pub fn accept(self, claim: &Claim) -> Result<Option<String>, Mismatch> {
        if claim.mode.as_deref().is_some_and(|mode| mode != self.name()) {
            return Err(Mismatch::Mode);
        }
        let user_id = match &claim.user_id {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => return Err(Mismatch::UserIdMalformed),
        };
        match user_id {
            None if self.requires_user_id() => Err(Mismatch::UserIdMissing),
            None => Ok(None),
            Some(id) if self.requires_user_id() && !is_integer_id(&id) => {
                Err(Mismatch::UserIdMalformed)
            }
            Some(id) if !is_token_id(&id) => Err(Mismatch::UserIdMalformed),
            Some(id) => Ok(Some(id)),
        }
    }
}

/// `[1-9][0-9]{0,15}`, and no more than JavaScript counts exactly.
fn is_integer_id(id: &str) -> bool {
    const LARGEST: u64 = (1 << 53) - 1;
    id.len() <= 16
        && !id.starts_with('0')
        && id.bytes().all(|byte| byte.is_ascii_digit())
        && id.parse().is_ok_and(|number: u64| number <= LARGEST)
}

fn is_token_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(persona: Persona, claim: &str, expected: Result<Option<&str>, Mismatch>) {
        let claim: Claim = serde_json::from_str(claim).unwrap();
        assert_eq!(persona.accept(&claim), expected.map(|id| id.map(str::to_owned)));
    }

    #[test]
    fn customers_and_employees_are_positive_integers_of_their_own_mode() {
        use Mismatch::*;
        for persona in [Persona::Customer, Persona::Employee] {
            let mode = persona.name();
            let claim = |id: &str| format!(r#"{{"mode":"{mode}","user_id":{id}}}"#);
            check(persona, &claim("12345"), Ok(Some("12345")));
            check(persona, &claim("\"12345\""), Ok(Some("12345")));
            check(persona, &claim("9007199254740991"), Ok(Some("9007199254740991")));
            for wrong in
                ["0", "-1", "1.5", "\"007\"", "\"abc\"", "9007199254740992", "1e3", "[1]", "true"]
            {
                check(persona, &claim(wrong), Err(UserIdMalformed));
            }
            for missing in ["null", "\"\""] {
                check(persona, &claim(missing), Err(UserIdMissing));
            }
            check(persona, r#"{"mode":"public","user_id":1}"#, Err(Mode));
            check(persona, r#"{"user_id":1}"#, Ok(Some("1")));
        }
    }

    #[test]
    fn visitors_may_go_without_a_name_and_testers_may_use_any_token() {
        check(Persona::Public, r#"{"mode":"public"}"#, Ok(None));
        check(Persona::Public, r#"{"user_id":"fp:a1-b2.c3_d4"}"#, Ok(Some("fp:a1-b2.c3_d4")));
        check(Persona::Test, r#"{"mode":"test","user_id":7}"#, Ok(Some("7")));
        check(Persona::Test, r#"{"user_id":"a b"}"#, Err(Mismatch::UserIdMalformed));
        check(Persona::Test, r#"{"mode":"employee"}"#, Err(Mismatch::Mode));
    }

    #[test]
    fn hosts_and_names_lead_back_to_their_persona() {
        for persona in Persona::ALL {
            assert_eq!(Persona::of_host(persona.host()), Some(persona));
            assert_eq!(Persona::of_name(persona.name()), Some(persona));
        }
        assert_eq!(Persona::of_host(APP_HOST), None);
    }
}
