use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const CHAT: &[&str] = &["chat-public.localhost", "127.0.0.1"];

/// What a strict verifier says about `leaf` shown for `name`, trusting `ca` alone.
fn verify(ca: &DevCa, leaf: &str, name: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let now = UnixTime::since_unix_epoch(since_1970(now));
    verifier.verify_server_cert(&leaf, &[], &name, &[], now).map(drop)
}

#[test]
fn a_leaf_verifies_for_its_names_and_no_other() {
    let ca = DevCa::generate().unwrap();
    let leaf = ca.issue(&["chat.example", "*.bots.example", "::1"]).unwrap();
    let now = SystemTime::now();
    for name in ["chat.example", "a.bots.example", "::1"] {
        verify(&ca, &leaf.cert_chain_pem, name, now).unwrap();
    }
    for name in ["other.example", "a.b.bots.example", "127.0.0.1"] {
        verify(&ca, &leaf.cert_chain_pem, name, now).unwrap_err();
    }
    let stranger = DevCa::generate().unwrap();
    verify(&stranger, &leaf.cert_chain_pem, "chat.example", now).unwrap_err();
}

#[test]
fn the_loopback_authority_cannot_vouch_for_the_internet() {
    let ca = DevCa::generate_for_loopback().unwrap();
    let now = SystemTime::now();
    for name in ["localhost", "app.localhost", "127.0.0.1", "::1"] {
        let leaf = ca.issue(&[name]).unwrap();
        verify(&ca, &leaf.cert_chain_pem, name, now).unwrap();
    }
    for name in ["example.com", "notlocalhost", "localhost.example.com", "127.0.0.2", "10.0.0.1"] {
        let leaf = ca.issue(&[name]).unwrap();
        verify(&ca, &leaf.cert_chain_pem, name, now).unwrap_err();
    }
}

#[test]
fn a_leaf_lives_at_most_397_days_and_is_valid_on_a_lagging_clock() {
    let ca = DevCa::generate().unwrap();
    let leaf = Parsed::read(&ca.issue(CHAT).unwrap().cert_chain_pem).unwrap();
    assert!(leaf.not_after - leaf.not_before <= 397 * 24 * 60 * 60);
    let now = since_1970(SystemTime::now()).as_secs() as i64;
    assert!(leaf.not_before <= now - 23 * 60 * 60);
}

#[test]
fn a_store_keeps_its_authority_and_leaf_from_run_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("a/b");
    let first = DevStore::open(&directory).unwrap();
    let files = first.leaf("chat", CHAT).unwrap();
    let (ca, leaf) = (first.ca().pem().to_owned(), read_if_there(&files.cert).unwrap());
    let second = DevStore::open(&directory).unwrap();
    assert_eq!(second.ca().pem(), ca);
    assert_eq!(second.ca().name(), first.ca().name());
    assert_eq!(second.leaf("chat", CHAT).unwrap(), files);
    assert_eq!(read_if_there(&files.cert).unwrap(), leaf);
    verify(second.ca(), &leaf.unwrap(), "chat-public.localhost", SystemTime::now()).unwrap();
}

#[test]
fn a_leaf_is_made_anew_for_other_names_when_it_nears_its_end_and_under_a_new_authority() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let leaf_at = |now: SystemTime, names: &[&str]| {
        let store = DevStore::open_at(folder.path(), now).unwrap();
        let files = store.leaf("chat", names).unwrap();
        let leaf = std::fs::read_to_string(files.cert).unwrap();
        verify(store.ca(), &leaf, names[0], now).unwrap();
        (store.ca().pem().to_owned(), leaf)
    };
    let first = leaf_at(now, CHAT);
    assert_eq!(leaf_at(now + 300 * DAY, CHAT), first);
    let more = leaf_at(now, &["chat-public.localhost", "chat-test.localhost"]);
    assert_ne!(more.1, first.1);
    let renewed = leaf_at(now + 340 * DAY, &["chat-public.localhost", "chat-test.localhost"]);
    assert_eq!(renewed.0, first.0, "the authority outlives the leaf");
    assert_ne!(renewed.1, more.1);
    let later = leaf_at(now + 1080 * DAY, CHAT);
    assert_ne!(later.0, first.0, "the authority is replaced before it ends");
}

#[test]
fn what_cannot_be_used_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = DevStore::open(folder.path()).unwrap();
    let files = store.leaf("chat", CHAT).unwrap();
    let other = DevCa::generate().unwrap().issue(CHAT).unwrap();
    std::fs::write(&files.key, &other.key_pem).unwrap();
    let again = store.leaf("chat", CHAT).unwrap();
    assert_ne!(std::fs::read_to_string(again.key).unwrap(), other.key_pem);
    std::fs::write(folder.path().join("ca.key"), [0xff, 0xfe]).unwrap();
    let reopened = DevStore::open(folder.path()).unwrap();
    assert_ne!(reopened.ca().pem(), store.ca().pem());
}

#[cfg(unix)]
#[test]
fn keys_are_private_and_debug_output_has_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("demo");
    let store = DevStore::open(&directory).unwrap();
    let files = store.leaf("chat", CHAT).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&files.key), 0o600);
    assert_eq!(mode(&directory.join("ca.key")), 0o600);
    let names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "nothing is left beside the four files: {names:?}");
    let leaf = store.ca().issue(CHAT).unwrap();
    assert!(!format!("{leaf:?} {store:?}").contains("PRIVATE KEY"));
}
