//! A new process takes the place of the one that serves, without a connection refused or a request
//! failed.
//!
//! # The steps
//!
//! | the successor ([`take`]) | the process that serves ([`give`]) |
//! | --- | --- |
//! | has loaded its configuration, and says HELLO | |
//! | | checks whose process it is, says WELCOME, sends every listener's descriptor |
//! | has everything set up but accepts nothing: READY | |
//! | | sends limits; stops polling, but keeps its descriptors; sends what is remembered; GO |
//! | remembers it: ACCEPTING | |
//! | | YOURS; closes its listeners, and drains as after SIGTERM |
//! | accepts; is found at the socket itself | |
//!
//! Where the successor ends, hangs or says anything else before ACCEPTING, the process polls again
//! and serves on. YOURS is there so that never both accept: without it a successor that is late by
//! an instant would begin when the other has given it up. Connections that come in between wait in
//! the kernel's queues, which belong to the descriptors and not to a process.
//!
//! # What is exact, and what is not
//!
//! Ended sessions, used signatures and what launches left for the apps are copied while nothing
//! changes them: from [`Custody::begin`](crate::state::custody::Custody::begin) on, launches and
//! what the bridge says wait (milliseconds, and seconds only where a successor hangs). Everything
//! else goes on. A decision is made in one piece on a worker's thread, and
//! [`Intake::hold`](crate::net::intake::Intake::hold) returns when every worker has looked up since,
//! so that none is half way when the copy is made. When the successor serves, those that waited are sent to it:
//! 307 to the same address, on a connection that takes no further request. A browser follows with
//! the same method and body, and nobody sees it. So does whatever launch still comes in on a
//! connection to the old process. No signature can be used twice, no session comes back.
//!
//! The other ways were worse. Passing late changes on would leave an instant in which a signature
//! is used at both. Asking the successor about each would put its answer in the way of a worker.
//! Refusing with 503 would fail launches that nothing is wrong with.
//!
//! Sessions that end at the successor end their streams here too: it says so over the same socket
//! as long as this process lives, and so do those that come after it ([`elders`]).
//!
//! Not exact: what is charged to limits while the copy is made and by requests on old connections;
//! the buckets that strangers share when a tenant's keys are used up; a cookie that an app sets, for
//! a browser that keeps none, with an answer that was under way; that a signed session came back, if
//! it did so on an old connection (for half a minute its first address may begin again); and TLS
//! sessions, which begin with a full handshake. Renewals of a session are left to the successor.
//!
//! # Who may
//!
//! The socket is private to its user, the kernel's word on who is at the other end is checked on
//! both sides, and the secret that goes over it is in no log and no `Debug`. Everything that comes
//! is bounded and has one spelling ([`wire`]).

pub mod elders;
pub mod give;
pub mod link;
pub mod socket;
mod state;
pub mod take;
pub mod wire;
