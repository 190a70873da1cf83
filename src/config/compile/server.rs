//! Listeners, limits and the other settings of the process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::error::Wrong;
use super::super::raw::{Limits as RawLimits, Root, Server};
use super::super::snapshot::{AdminSettings, HttpMode, InternalSettings, Limits, ServerSettings};
use super::super::source::{At, Spot};
use super::{Compiler, secrets};
use crate::upgrade::socket::LONGEST_PATH;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

pub fn compile(root: &Root, compiler: &mut Compiler<'_>) -> ServerSettings {
    let default = Server::default();
    let raw = root.server.as_ref().map_or(&default, |at| &at.value);
    let values = |list: &Option<At<Vec<At<SocketAddr>>>>| -> Vec<SocketAddr> {
        list.iter().flat_map(|list| &list.value).map(|at| at.value).collect()
    };
    let nets = raw.trusted_proxies.iter().flat_map(|list| &list.value).map(|at| at.value);
    let settings = ServerSettings {
        https: values(&raw.https),
        http: values(&raw.http),
        http_mode: raw.http_mode.as_ref().map_or(HttpMode::Redirect, |at| at.value),
        workers: raw.workers.as_ref().map_or_else(one_per_core, |at| at.value.0 as usize),
        trusted_proxies: nets.collect(),
        proxy_protocol: raw.proxy_protocol.as_ref().is_some_and(|at| at.value),
        drain_timeout: raw.drain_timeout.as_ref().map_or(DRAIN_TIMEOUT, |at| at.value),
        upgrade_socket: upgrade_socket(raw, compiler),
        close_within: raw.close_within.as_ref().map_or(CLOSE_WITHIN, |at| at.value),
        acme_webroot: acme_webroot(raw, compiler),
        limits: limits(raw.limits.as_ref().map(|at| &*at.value), compiler),
    };
    check_listeners(root, raw, compiler);
    check_trust(raw, compiler);
    settings
}

/// Where an ACME client leaves its answers.
fn acme_webroot(raw: &Server, compiler: &mut Compiler<'_>) -> Option<Arc<Path>> {
    let at = raw.acme_webroot.as_ref()?;
    let redirects = raw.http_mode.as_ref().is_none_or(|at| at.value == HttpMode::Redirect);
    let has_http = raw.http.as_ref().is_some_and(|at| !at.value.is_empty());
    if !redirects || !has_http {
        let what =
            "there is no plain listener of ours that redirects, so that the key has no effect";
        let wrong = Wrong::new(what, "write http = [\"0.0.0.0:80\"], or leave it out");
        compiler.problems.error(at.spot, "server.acme_webroot", wrong);
    }
    let folder = compiler.base.join(&at.value.0);
    if !folder.is_dir() {
        let what = format!("{} is no folder now", at.value.0.display());
        let wrong = Wrong::new(what, "make it, or write the webroot of your ACME client");
        compiler.problems.warning(at.spot, "server.acme_webroot", wrong);
    }
    Some(folder.into())
}

fn upgrade_socket(raw: &Server, compiler: &mut Compiler<'_>) -> Option<PathBuf> {
    let at = raw.upgrade_socket.as_ref()?;
    let path = compiler.base.join(&at.value.0);
    if path.as_os_str().len() > LONGEST_PATH {
        let what = format!("{} is too long for a socket's address", path.display());
        let remedy = format!("write a path of at most {LONGEST_PATH} bytes");
        compiler.problems.error(at.spot, "server.upgrade_socket", Wrong::new(what, remedy));
    }
    Some(path)
}

fn one_per_core() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn limits(raw: Option<&RawLimits>, compiler: &mut Compiler<'_>) -> Limits {
    let default = Limits::default();
    let Some(raw) = raw else { return default };
    if let Some(at) = &raw.header_bytes
        && !(1 << 10..=1 << 20).contains(&at.value.0)
    {
        let what = "a request head needs at least 1KiB, and more than 1MiB would only help floods";
        let wrong = Wrong::new(what, "write a size from \"1KiB\" to \"1MiB\"");
        compiler.problems.error(at.spot, "server.limits.header_bytes", wrong);
    }
    if let Some(at) = &raw.form_bytes
        && !(1 << 10..=64 << 20).contains(&at.value.0)
    {
        let what = "a form needs at least 1KiB, and is held in memory as a whole";
        let wrong = Wrong::new(what, "write a size from \"1KiB\" to \"64MiB\"");
        compiler.problems.error(at.spot, "server.limits.form_bytes", wrong);
    }
    let size = |at: &At<super::super::values::Size>| at.value.0;
    Limits {
        header_timeout: raw.header_timeout.as_ref().map_or(default.header_timeout, |at| at.value.0),
        header_bytes: raw
            .header_bytes
            .as_ref()
            .map_or(default.header_bytes, |at| size(at) as usize),
        idle_timeout: raw.idle_timeout.as_ref().map_or(default.idle_timeout, |at| at.value.0),
        connections: raw.connections.as_ref().map_or(default.connections, |at| at.value.0 as usize),
        form_bytes: raw.form_bytes.as_ref().map_or(default.form_bytes, |at| size(at) as usize),
        body_bytes: raw.body_bytes.as_ref().map_or(default.body_bytes, size),
        body_timeout: raw.body_timeout.as_ref().map_or(default.body_timeout, |at| at.value.0),
    }
}

fn check_listeners(root: &Root, raw: &Server, compiler: &mut Compiler<'_>) {
    let mut seen: Vec<(SocketAddr, Spot)> = Vec::new();
    let lists = [("server.https", &raw.https), ("server.http", &raw.http)];
    let listed = lists.into_iter().flat_map(|(key, list)| {
        list.iter().flat_map(move |list| list.value.iter().map(move |at| (key, at)))
    });
    let admin = root.admin.iter().filter_map(|at| at.value.listen.as_ref());
    let internal = root.internal.iter().filter_map(|at| at.value.listen.as_ref());
    let others =
        admin.map(|at| ("admin.listen", at)).chain(internal.map(|at| ("internal.listen", at)));
    for (key, at) in listed.chain(others) {
        match seen.iter().find(|(address, _)| *address == at.value && address.port() != 0) {
            Some((_, first)) => {
                let place = compiler.texts.place(*first);
                let what = format!("{} is already listened on, at {place}", at.value);
                let wrong = Wrong::new(what, "give each listener a port of its own");
                compiler.problems.error(at.spot, key, wrong);
            }
            None => seen.push((at.value, at.spot)),
        }
    }
    let spot = root.server.as_ref().map_or(Spot::default(), |at| at.spot);
    let none = |list: &Option<At<Vec<_>>>| list.as_ref().is_some_and(|at| at.value.is_empty());
    // A key that was written wrongly has been reported already, and is not missing.
    if compiler.problems.has_error_below("server.http") {
        return;
    }
    let written = raw.https.is_some() || raw.http.is_some();
    if !written || (none(&raw.https) && none(&raw.http)) {
        let remedy = "write https = [\"0.0.0.0:443\"], or http = [\"127.0.0.1:8080\"] and \
                      http_mode = \"serve\" behind a balancer";
        compiler.problems.error(spot, "server", Wrong::new("there is no listener", remedy));
    }
    let mode = raw.http_mode.as_ref().map_or(HttpMode::Redirect, |at| at.value);
    let no_https = raw.https.as_ref().is_none_or(|at| at.value.is_empty());
    if let Some(http) = raw.http.as_ref().filter(|at| !at.value.is_empty())
        && no_https
        && mode == HttpMode::Redirect
    {
        let what = "plain requests are redirected to https, and there is no https listener";
        let remedy = "write https = [\"0.0.0.0:443\"], or http_mode = \"serve\" where a balancer \
                      in front has ended TLS";
        compiler.problems.error(http.spot, "server.http", Wrong::new(what, remedy));
    }
}

fn check_trust(raw: &Server, compiler: &mut Compiler<'_>) {
    for at in raw.trusted_proxies.iter().flat_map(|list| &list.value) {
        if at.value.prefix_len() == 0 {
            let what = format!("{} is everyone: any client can claim any address", at.value);
            let wrong = Wrong::new(what, "write the networks of your balancers");
            compiler.problems.warning(at.spot, "server.trusted_proxies", wrong);
        }
    }
    if let Some(at) = raw.proxy_protocol.as_ref().filter(|at| at.value)
        && raw.trusted_proxies.as_ref().is_none_or(|list| list.value.is_empty())
    {
        let what = "nobody is trusted to send the PROXY header";
        let wrong = Wrong::new(what, "write trusted_proxies = [...] with your balancers' networks");
        compiler.problems.error(at.spot, "server.proxy_protocol", wrong);
    }
}

pub fn admin(root: &Root, compiler: &mut Compiler<'_>) -> AdminSettings {
    let Some(raw) = root.admin.as_ref().map(|at| &at.value) else {
        return AdminSettings { listen: None, token: None };
    };
    let token = raw.token.as_ref().and_then(|at| secrets::agreed(at, "admin.token", compiler));
    if let Some(at) = &raw.listen
        && !at.value.ip().is_loopback()
        && raw.token.is_none()
        && !compiler.problems.has_error_below("admin.")
    {
        let what =
            format!("{} can be reached from other machines, and there is no token", at.value);
        let remedy = "write token = \"env:NAME\", or listen on 127.0.0.1";
        compiler.problems.error(at.spot, "admin.listen", Wrong::new(what, remedy));
    }
    if let Some(at) = &raw.token
        && raw.listen.is_none()
        && !compiler.problems.has_error_below("admin.")
    {
        let what = "there is no address to which it opens the way";
        let remedy = "write listen = \"127.0.0.1:9180\", or leave the token out";
        compiler.problems.error(at.spot, "admin.token", Wrong::new(what, remedy));
    }
    AdminSettings { listen: raw.listen.as_ref().map(|at| at.value), token }
}

pub fn internal(root: &Root) -> InternalSettings {
    let listen = root.internal.as_ref().and_then(|at| at.value.listen.as_ref());
    InternalSettings { listen: listen.map(|at| at.value) }
}
