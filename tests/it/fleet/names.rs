//! Names of servers, and the addresses that they stand for.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use super::*;

/// What the name stands for now; no address: it does not resolve.
static ADDRESSES: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    assert_eq!((name, port), ("app.test", 8501));
    let addresses = ADDRESSES.lock().unwrap().clone();
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
}

#[test]
fn all_addresses_of_a_name_are_used_and_looked_up_again() {
    let replicas = ["a", "b", "c"].map(Replica::start);
    let stands_for = |of: &[usize]| {
        *ADDRESSES.lock().unwrap() = of.iter().map(|&at| replicas[at].address).collect();
    };
    let servers = |proxy: &Proxy| proxy.app.upstreams()[0].servers.len();
    stands_for(&[0, 1]);
    let text = over("\"http://app.test:8501\"", "resolve_interval = \"100ms\"", "");
    let proxy = Proxy::resolving(&text, Some(resolve));
    wait_until("the name is resolved", || servers(&proxy) == 2);
    let mut client = proxy.client();
    assert_eq!(answering(&mut client, 4), "a b");

    stands_for(&[]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(answering(&mut client, 4), "a b", "the last good answer is kept");

    stands_for(&[0, 1, 2]);
    wait_until("an address is added", || servers(&proxy) == 3);
    assert_eq!(answering(&mut client, 6), "a b c");
    stands_for(&[2]);
    wait_until("addresses are gone", || servers(&proxy) == 1);
    assert_eq!(answering(&mut client, 4), "c");
}
