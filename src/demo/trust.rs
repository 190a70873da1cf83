//! The one command that makes a browser trust the demo's authority, for the system at hand.
//!
//! Printed, never run: what a person trusts is theirs to decide. The authority can vouch for
//! loopback names only (`tls::dev`), so running it does no harm.

/// For Chromium and Chrome, and for everything that asks the system on macOS and Windows.
///
/// `name` must differ from authority to authority: certutil refuses a nickname that another subject
/// has.
pub fn command(name: &str, ca: &str) -> String {
    let ca = quoted(ca);
    if cfg!(target_os = "macos") {
        format!(
            "security add-trusted-cert -r trustRoot -p ssl \
             -k ~/Library/Keychains/login.keychain-db {ca}"
        )
    } else if cfg!(windows) {
        format!("certutil -user -addstore Root {ca}")
    } else {
        format!(
            "mkdir -p ~/.pki/nssdb && \
             certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n '{name}' -i {ca}"
        )
    }
}

/// Firefox keeps a list of its own.
pub fn firefox(ca: &str) -> String {
    format!("Firefox: Settings, Privacy & Security, View Certificates, Authorities, Import {ca}")
}

/// For a shell to take as one word.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:\\".contains(&byte);
    if path.bytes().all(plain) {
        return path.to_owned();
    }
    if cfg!(windows) { format!("\"{path}\"") } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_reaches_the_shell_as_one_word() {
        for path in ["/plain/ca.pem", "/with space/ca.pem", "/it's/$HOME/`x`/ca.pem"] {
            let script = format!("printf %s {}", quoted(path));
            let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), path);
        }
    }
}
