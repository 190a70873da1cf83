//! What an operator can see. It must never see a query value, a token or a cookie.

pub mod access_log;
pub mod metrics;
pub mod otlp;
pub mod recent;
pub mod request_id;
pub mod trace;
pub mod warn;
