//! What Vestibule says in Streamlit's place.

use serde::Serialize;

use crate::policy::origin::AllowedOrigin;

/// The answer to `/_stcore/host-config`, made once for a snapshot.
///
/// Its fields are those of 1.67, which the frontends of 1.39 and later read by name; 1.39 passes
/// over the last three. Streamlit's own answer lets every app of its makers' cloud post messages
/// into the chat; this one names those who may embed it. Its usage statistics are off: they would
/// tell its makers the page's address, where a launch says who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    body: Box<str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'o> {
    allowed_origins: Vec<&'o str>,
    use_external_auth_token: bool,
    enable_custom_parent_messages: bool,
    enforce_download_in_new_tab: bool,
    metrics_url: &'static str,
    block_error_dialogs: bool,
    resource_cross_origin_mode: Option<&'static str>,
}

impl HostConfig {
    pub const CONTENT_TYPE: &'static str = "application/json";
    /// Browsers ask again at every reconnect; a reload may have taken an origin away.
    pub const CACHE_CONTROL: &'static str = "no-cache";

    /// Pages from files send messages with the origin `null`, which the frontends never match: they
    /// are left out. Wildcards mean the same there as here.
    pub fn new(embed: &[AllowedOrigin]) -> Self {
        let origins = embed.iter().filter(|origin| !origin.is_file());
        let fields = Fields {
            allowed_origins: origins.map(AllowedOrigin::as_str).collect(),
            use_external_auth_token: false,
            enable_custom_parent_messages: false,
            enforce_download_in_new_tab: false,
            metrics_url: "off",
            block_error_dialogs: false,
            resource_cross_origin_mode: None,
        };
        let body = serde_json::to_string(&fields).expect("strings and booleans always serialise");
        Self { body: body.into() }
    }

    pub fn body(&self) -> &str {
        &self.body
    }
}

/// The double-submit cookie, without which no file can be uploaded.
pub const XSRF_COOKIE: &str = "_streamlit_xsrf";

/// The XSRF cookie's `Set-Cookie` as it works in a frame of another site: a browser keeps
/// `SameSite=Lax`, or none said, out of such frames. Partitioned, so that it is not a third-party
/// cookie. `None` for any other cookie, which passes as it is.
pub fn framed_xsrf_cookie(set_cookie: &[u8]) -> Option<Vec<u8>> {
    let mut parts = set_cookie.split(|&byte| byte == b';');
    let pair = parts.next()?.trim_ascii();
    let name = &pair[..pair.iter().position(|&byte| byte == b'=')?];
    if name.trim_ascii() != XSRF_COOKIE.as_bytes() {
        return None;
    }
    let mut framed = pair.to_vec();
    for attribute in parts.map(<[u8]>::trim_ascii) {
        let end = attribute.iter().position(|&byte| byte == b'=').unwrap_or(attribute.len());
        let name = attribute[..end].trim_ascii();
        let is_ours = [&b"samesite"[..], b"secure", b"partitioned"]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours));
        if !is_ours && !attribute.is_empty() {
            framed.extend_from_slice(b"; ");
            framed.extend_from_slice(attribute);
        }
    }
    framed.extend_from_slice(b"; SameSite=None; Secure; Partitioned");
    Some(framed)
}
