//! What an operator is told while the server runs. The command line prints it; nothing else does.

use std::fmt;
use std::sync::Arc;

/// Says something to the operator; nothing by default. Whoever says much says it seldom.
#[derive(Clone)]
pub struct Warn(Arc<dyn Fn(&str) + Send + Sync>);

impl Warn {
    pub fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(warn))
    }

    pub fn say(&self, what: &str) {
        (self.0)(what);
    }
}

impl Default for Warn {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Warn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warn(..)")
    }
}
