//! The demo's configuration, as text: `config/demo.toml` with this machine's values in it.
//!
//! It goes through the same loader as any other file, so that the demo shows what a configuration
//! can say and nothing else.

/// What differs from machine to machine.
#[derive(Debug, Clone)]
pub struct Values {
    /// Addresses of the TLS listeners.
    pub https: Vec<String>,
    /// Address of the listener for operators.
    pub admin: String,
    /// The origin of the host page, as browsers serialise it.
    pub app_origin: String,
    /// URL of the chat backend.
    pub backend: String,
    pub chat_cert: String,
    pub chat_key: String,
    pub app_cert: String,
    pub app_key: String,
    /// A file with the secret that signs sessions.
    pub session_secret: String,
    /// A file for the access log.
    pub access_log: String,
}

const TEMPLATE: &str = include_str!("../../config/demo.toml");

/// The whole configuration, ready for the loader.
pub fn configuration(values: &Values) -> String {
    let https: Vec<String> = values.https.iter().map(|address| quoted(address)).collect();
    let mut text = TEMPLATE.replace("{{https}}", &format!("[{}]", https.join(", ")));
    for (name, value) in [
        ("{{admin}}", &values.admin),
        ("{{app_origin}}", &values.app_origin),
        ("{{backend}}", &values.backend),
        ("{{chat_cert}}", &values.chat_cert),
        ("{{chat_key}}", &values.chat_key),
        ("{{app_cert}}", &values.app_cert),
        ("{{app_key}}", &values.app_key),
        ("{{session_secret}}", &format!("file:{}", values.session_secret)),
        ("{{access_log}}", &values.access_log),
    ] {
        text = text.replace(name, &quoted(value));
    }
    text
}

/// As a TOML string.
fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::persona::{APP_HOST, Persona, TENANT};

    fn parsed() -> toml::Table {
        let odd = |name: &str| format!("/a \"b\"/c\\d/{name}");
        let text = configuration(&Values {
            https: vec!["127.0.0.1:8443".into(), "[::1]:8443".into()],
            admin: "127.0.0.1:9180".into(),
            app_origin: "https://app.localhost:8443".into(),
            backend: "http://127.0.0.1:5000".into(),
            chat_cert: odd("chat.pem"),
            chat_key: odd("chat.key"),
            app_cert: odd("app.pem"),
            app_key: odd("app.key"),
            session_secret: odd("session.key"),
            access_log: odd("access.log"),
        });
        text.parse().unwrap()
    }

    #[test]
    fn every_value_is_filled_in_whatever_its_characters() {
        let table = parsed();
        let text = table.to_string();
        assert!(!text.contains("{{"), "{text}");
        let certificates = table["tls"]["certificates"].as_array().unwrap();
        assert_eq!(certificates[1]["key"].as_str(), Some("/a \"b\"/c\\d/app.key"));
        assert_eq!(table["server"]["https"].as_array().unwrap().len(), 2);
        let secrets = table["server"]["session_secrets"].as_array().unwrap();
        assert_eq!(secrets[0].as_str(), Some("file:/a \"b\"/c\\d/session.key"));
    }

    #[test]
    fn the_configuration_and_the_persona_list_say_the_same() {
        let table = parsed();
        let tenant = &table["tenants"][TENANT];
        let personas = tenant["personas"].as_table().unwrap();
        assert_eq!(personas.len(), Persona::ALL.len());
        for persona in Persona::ALL {
            let table = &personas[persona.name()];
            assert_eq!(table["mode"].as_str(), Some(persona.name()));
            assert_eq!(table["hosts"].as_array().unwrap()[0].as_str(), Some(persona.host()));
            let required = table["user_id"].as_str() == Some("required");
            assert_eq!(required, persona.requires_user_id());
            let generated = table["allow_generated_id"].as_bool();
            assert_eq!(generated, Some(persona.allows_generated_id()));
            assert_eq!(table["bridge"].as_bool(), Some(true));
        }
        assert_eq!(tenant["sites"]["app"]["hosts"].as_array().unwrap()[0].as_str(), Some(APP_HOST));
    }
}
