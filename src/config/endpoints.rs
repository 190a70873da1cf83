//! Where Vestibule listens and what it connects to: listeners, networks, servers, services.
//!
//! A value that may hold a password is never repeated in a problem.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::addresses::{check_host, parse_port, split_port, without_path};
use super::error::Wrong;
use super::reader::Text;
use super::schema::Kind;
use super::snapshot::ServerAddress;
use super::values::text;

/// An address to listen on; port 0 lets the system choose.
impl Text for SocketAddr {
    const KIND: Kind = text("an address to listen on", "0.0.0.0:443");

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = split_port(text);
        let remedy = match (host, port) {
            ("" | "*", Some(port)) => format!("write \"0.0.0.0:{port}\", or \"[::]:{port}\""),
            ("localhost", Some(port)) => format!("write \"127.0.0.1:{port}\""),
            (host, None) if host.parse::<IpAddr>().is_ok() => {
                format!("add a port: \"{}\"", SocketAddr::new(host.parse().unwrap_or(ANY), 443))
            }
            (port, None) if parse_port(port).is_some() => format!("write \"0.0.0.0:{port}\""),
            _ => "write an IP address and a port, such as \"0.0.0.0:443\" or \"[::]:443\"".into(),
        };
        Err(Wrong::new(format!("{text:?} is not an address to listen on"), remedy))
    }
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A network, or one address.
impl Text for IpNet {
    const KIND: Kind = text("a network", "10.0.0.0/8");

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a network such as \"10.0.0.0/8\", or one address";
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(IpNet::from(address));
        }
        let wrong = || Wrong::new(format!("{text:?} is not a network"), REMEDY);
        let net: IpNet = text.parse().map_err(|_| wrong())?;
        if net.addr() != net.network() {
            let what = format!("{text:?} is an address inside a network");
            return Err(Wrong::new(what, format!("write \"{}\"", net.trunc())));
        }
        Ok(net)
    }
}

/// A server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    pub address: ServerAddress,
    pub tls: bool,
}

impl Text for ServerUrl {
    const KIND: Kind = text("the address of a server", "http://127.0.0.1:8501");

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str =
            "write \"http://HOST:PORT\", \"https://HOST:PORT\" or \"unix:/path/of/socket\"";
        // A path and a query are no part of it, and often a token: they are not repeated.
        let shown = if text.starts_with("unix:") { text } else { without_path(text) };
        let wrong = |why: &str, remedy: String| {
            Err(Wrong::new(format!("{shown:?} is not the address of a server: {why}"), remedy))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            if path.starts_with('/') && !path.starts_with("//") && path.len() < 108 {
                return Ok(Self { address: ServerAddress::Unix(path.into()), tls: false });
            }
            let remedy = "write \"unix:/path/of/socket\" with at most 107 characters".into();
            return wrong("the path of a socket is absolute and short", remedy);
        }
        if text.contains('@') {
            // What stands before it may be a password, and is not repeated.
            let what = "the address of a server has no user name or password in it";
            return Err(Wrong::new(what, REMEDY));
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return wrong("it has no scheme", format!("write \"http://{shown}\""));
        };
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        let (authority, path) = authority.split_at(end);
        let tls = match scheme {
            "http" => false,
            "https" => true,
            "ws" => {
                return wrong("WebSockets begin as HTTP", format!("write \"http://{authority}\""));
            }
            "wss" => {
                return wrong("WebSockets begin as HTTP", format!("write \"https://{authority}\""));
            }
            _ => return wrong("the scheme is not known", REMEDY.into()),
        };
        if !path.is_empty() {
            let remedy = format!("write \"{scheme}://{authority}\"");
            let what =
                format!("{shown:?} goes on after the host: the path comes from each request");
            return Err(Wrong::new(what, remedy));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(port) => match parse_port(port) {
                Some(port) => port,
                None => return wrong("the port is not a number from 1 to 65535", REMEDY.into()),
            },
        };
        if host.contains('*') {
            return wrong("a server is one host", REMEDY.into());
        }
        check_host(text, host)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = match bare.parse::<IpAddr>() {
            Ok(ip) => ServerAddress::Ip(SocketAddr::new(ip, port)),
            Err(_) => ServerAddress::Name(host.into(), port),
        };
        Ok(Self { address, tls })
    }
}

/// A name in the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsName(pub rustls_pki_types::ServerName<'static>);

impl Text for TlsName {
    const KIND: Kind = text("the name in the server's certificate", "app.internal");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            let what = format!("{text:?} cannot be a name in a certificate");
            Wrong::new(what, "write a DNS name or an IP address, without a port")
        };
        let name = rustls_pki_types::ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| wrong())
    }
}

/// A URL of http or https that Vestibule itself calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(pub Box<str>);

impl Text for HttpUrl {
    const KIND: Kind = text("a URL", "https://acme.example/directory");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            // Tokens are often part of such addresses, so that the value is not repeated.
            let what = "the value is not a URL without a user name";
            Wrong::new(what, "write \"https://...\", or \"http://...\"")
        };
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let known = matches!(uri.scheme_str(), Some("http" | "https")) && !text.contains('@');
        (known && uri.host().is_some()).then(|| Self(text.into())).ok_or_else(wrong)
    }
}

/// The address of a Redis server; it may hold a password and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(pub Box<str>);

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisUrl(..)")
    }
}

impl Text for RedisUrl {
    const KIND: Kind = text("the address of a Redis server", "redis://127.0.0.1:6379");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let remedy = "write \"redis://HOST:PORT\", or \"rediss://HOST:PORT\" for TLS";
        let rest = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://"));
        match rest {
            Some(rest) if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(Self(text.into()))
            }
            _ => Err(Wrong::new("the value is not the address of a Redis server", remedy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Text>(text: &str, good: bool) {
        assert_eq!(T::parse(text).is_ok(), good, "{text}");
    }

    #[test]
    fn servers_have_a_scheme_and_no_path() {
        for good in ["http://127.0.0.1:8501", "https://app", "http://[::1]:1", "unix:/run/app.sock"]
        {
            check::<ServerUrl>(good, true);
        }
        for bad in
            ["127.0.0.1:80", "http://a/", "http://a:0", "ftp://a", "unix:a", "ws://a", "http://a:b"]
        {
            check::<ServerUrl>(bad, false);
        }
    }

    #[test]
    fn networks_have_no_host_bits() {
        check::<IpNet>("10.0.0.0/8", true);
        check::<IpNet>("10.0.0.1", true);
        check::<IpNet>("fd00::/8", true);
        check::<IpNet>("10.0.0.1/8", false);
        check::<IpNet>("10.0.0.0/33", false);
    }
}
