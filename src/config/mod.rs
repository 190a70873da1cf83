//! From a TOML file to an immutable snapshot, with every problem reported at once.
//!
//! [`raw`] is what the user wrote and the one table of all keys, `compile` checks that it fits
//! together and resolves every reference, [`snapshot`] is what a request reads, [`error`] is how a
//! problem is told. A problem is never repaired silently, no problem hides another one, and no key
//! is accepted without effect unless a warning says so.
//!
//! A tenant's own file is outside of the operator's trust: [`load()`] judges it like everything else,
//! [`follow`] serves without it. `allow` says what it may use, `parties` which version of it serves,
//! `history` what is kept from load to load, `keep` what the next process finds.
//!
//! Relative paths (includes, certificates, templates) start at the folder of the main file, also
//! those in included files.

mod addresses;
mod allow;
mod compile;
mod endpoints;
pub mod error;
mod expansion;
mod file;
mod history;
mod include;
mod keep;
mod load;
pub mod outline;
mod parties;
pub mod process_secret;
pub mod raw;
mod reader;
mod scalars;
pub mod schema;
pub mod shown;
pub mod snapshot;
pub mod source;
mod upstream_tls;
pub mod values;

pub use error::{Problem, Severity};
pub use history::History;
pub use keep::Keeper;
pub use load::{Loaded, Loader, Place, follow, load, load_admin, load_str};
pub use source::Sources;

/// The shape of the whole file: every key, with its documentation.
pub fn schema() -> &'static schema::SectionInfo {
    const ROOT: schema::SectionInfo = <raw::Root as reader::Section>::INFO;
    &ROOT
}
