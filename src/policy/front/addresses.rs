//! Which addresses may come at all.
//!
//! Decided first of all about a persona or site, before a limit is charged or a body is read:
//! whoever is refused here costs nothing and takes nothing from others. A denied network wins over
//! an allowed one; where any is allowed, all others are denied. The address is the one that a
//! trusted proxy vouches for, else the peer's.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::rejection::{Code, Rejection};

/// One persona's or site's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    pub allow: Box<[IpNet]>,
    pub deny: Box<[IpNet]>,
}

/// Witness: the address may come.
#[derive(Debug)]
pub struct Admitted(());

impl Addresses {
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    pub fn check(&self, client: IpAddr) -> Result<Admitted, Rejection> {
        // An IPv4 client of an IPv6 listener is still that IPv4 client.
        let client = client.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
        if within(&self.deny) {
            return Err(Rejection::new(Code::AddressDenied, "the address is in deny_addresses"));
        }
        if !self.allow.is_empty() && !within(&self.allow) {
            return Err(Rejection::new(
                Code::AddressDenied,
                "the address is not in allow_addresses",
            ));
        }
        Ok(Admitted(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_network_wins_over_an_allowed_one() {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        let check = |allow: &[&str], deny: &[&str], client: &str| {
            let addresses = Addresses { allow: nets(allow), deny: nets(deny) };
            addresses.check(client.parse().unwrap()).is_ok()
        };
        assert!(check(&[], &[], "192.0.2.1"));
        assert!(check(&["192.0.2.0/24"], &[], "192.0.2.1"));
        assert!(check(&["192.0.2.0/24"], &[], "::ffff:192.0.2.1"));
        assert!(!check(&["192.0.2.0/24"], &[], "198.51.100.1"));
        assert!(!check(&["192.0.2.0/24"], &[], "2001:db8::1"));
        assert!(!check(&["192.0.2.0/24"], &["192.0.2.1/32"], "192.0.2.1"));
        assert!(check(&[], &["192.0.2.1/32"], "192.0.2.2"));
        assert!(!check(&[], &["2001:db8::/32"], "2001:db8::1"));
    }
}
