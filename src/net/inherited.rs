//! Listeners that somebody else has bound: the process before this one, or systemd.
//!
//! Each address takes all the descriptors that there are for it. With several workers the process
//! before has several, each with a queue of its own, and connections in the queue of one that is
//! not accepted from, or closed, are lost. So every one is accepted from: more descriptors than
//! workers means that some worker has two, more workers than descriptors that some share one.
//! None is added to those that are there: a successor that fails would take the new one's queue
//! along.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Descriptors that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Given>);

#[derive(Debug)]
struct Given {
    listener: TcpListener,
    /// As whoever bound it was told to: the port may be 0.
    configured: SocketAddr,
    bound: SocketAddr,
}

impl Inherited {
    /// Refuses what does not listen.
    pub fn add(
        &mut self,
        listener: TcpListener,
        configured: Option<SocketAddr>,
    ) -> io::Result<SocketAddr> {
        if !rustix::net::sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
        }
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        self.0.push(Given { listener, configured: configured.unwrap_or(bound), bound });
        Ok(bound)
    }

    /// Every descriptor for one configured address. Two addresses with port 0 are told apart by
    /// what they were bound to.
    pub fn take(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let is_it = |given: &&Given| given.configured == address || given.bound == address;
        let Some(bound) = self.0.iter().find(is_it).map(|given| given.bound) else {
            return Vec::new();
        };
        let all = std::mem::take(&mut self.0);
        let (taken, left): (Vec<_>, _) = all.into_iter().partition(|given| given.bound == bound);
        self.0 = left;
        taken.into_iter().map(|given| given.listener).collect()
    }

    /// Where those listen that nobody has taken.
    pub fn left(&self) -> Vec<SocketAddr> {
        let mut left: Vec<_> = self.0.iter().map(|given| given.bound).collect();
        left.sort_unstable();
        left.dedup();
        left
    }
}

/// Deals descriptors out to workers: worker and descriptor, so that each worker has one and each
/// descriptor is accepted from.
pub fn deal(descriptors: usize, workers: usize) -> impl Iterator<Item = (usize, usize)> {
    let pairs = if descriptors == 0 { 0 } else { descriptors.max(workers) };
    (0..pairs).map(move |index| (index % workers.max(1), index % descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener;

    #[test]
    fn every_worker_accepts_and_every_descriptor_is_accepted_from() {
        for (descriptors, workers) in [(1, 1), (1, 3), (3, 1), (2, 3), (3, 2), (4, 4), (0, 2)] {
            let pairs: Vec<_> = deal(descriptors, workers).collect();
            let all = |count, part: fn(&(usize, usize)) -> usize| {
                (0..count).all(|index| pairs.iter().any(|pair| part(pair) == index))
            };
            assert!(descriptors == 0 || all(workers, |pair| pair.0), "{descriptors} {workers}");
            assert!(all(descriptors, |pair| pair.1), "{descriptors} {workers}");
        }
    }

    #[test]
    fn an_address_takes_all_that_were_bound_to_it() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let one = listener::bind(any).unwrap();
        let bound = one.local_addr().unwrap();
        let sibling = listener::bind(bound).unwrap();
        let mut inherited = Inherited::default();
        inherited.add(one, Some(any)).unwrap();
        inherited.add(listener::bind(any).unwrap(), Some(any)).unwrap();
        inherited.add(sibling, Some(any)).unwrap();
        let addresses = |taken: Vec<TcpListener>| -> Vec<_> {
            taken.iter().map(|listener| listener.local_addr().unwrap()).collect()
        };
        assert_eq!(addresses(inherited.take(any)), [bound, bound]);
        let other = inherited.left();
        assert_eq!((other.len(), addresses(inherited.take(other[0]))), (1, other));
        assert!(inherited.take(any).is_empty() && inherited.left().is_empty());
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        assert!(Inherited::default().add(socket.unwrap().into(), None).is_err());
    }
}
