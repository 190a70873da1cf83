//! The demo's four personas and its host page's address, told once.
//!
//! Certificates, the configuration's test, the backend and the checks all read this list. What an
//! identity must look like is the persona seed's matrix; the configuration says it to Vestibule, and
//! nothing behind Vestibule checks it again.

use serde::Serialize;

/// Where the host page is served.
pub const APP_HOST: &str = "app.localhost";
pub const TENANT: &str = "jasser";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Persona {
    Public,
    Customer,
    Employee,
    Test,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_names_lead_back_to_their_persona() {
        for persona in Persona::ALL {
            assert_eq!(Persona::of_host(persona.host()), Some(persona));
            assert_eq!(Persona::of_name(persona.name()), Some(persona));
        }
        assert_eq!(Persona::of_host(APP_HOST), None);
    }
}
