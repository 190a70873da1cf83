//! What is told to a tenant that loses an address.

use super::super::super::error::Wrong;
use super::super::super::source::SourceTexts;
use super::super::tenants::Claimant;
use super::{Entry, Key};

/// The key of the loser that is wrong, and why.
pub fn describe(
    loser: &Entry<'_>,
    winner: &Entry<'_>,
    (host, path): &Key<'_>,
    texts: &SourceTexts,
) -> (&'static str, Wrong) {
    let place = texts.place(winner.spot);
    let (owner, holder) = (winner.placed.what.tenant(), winner.placed.what.key());
    if path.is_empty() {
        let wild = loser.host != winner.host;
        let exact = if loser.is_below || !wild { loser.host } else { winner.host };
        let what = if wild {
            format!(
                "`{exact}` and a wildcard over it belong to different tenants, this one and \
                 `{owner}` at {place}"
            )
        } else {
            format!("`{host}` belongs to the tenant `{owner}`, at {place}")
        };
        let remedy = format!("choose another host, or add {exact:?} to shared_hosts of [server]");
        return ("hosts", Wrong::new(what, remedy));
    }
    let own = |entry: &Entry<'_>| match &entry.placed.what {
        Claimant::Persona(persona) => persona.path.to_string(),
        Claimant::Site(_) => "/".into(),
    };
    let nested = "choose paths of which none begins with the other";
    if loser.is_below {
        let what = format!("`{}` lies inside `{path}` of {holder}, another tenant", own(loser));
        return ("path", Wrong::new(what, nested));
    }
    if winner.is_below {
        let what = format!("`{path}` has `{}` of {holder} inside, another tenant", own(winner));
        return ("path", Wrong::new(what, nested));
    }
    let wrong = match winner.device {
        Some(slug) => Wrong::new(
            format!("{host}{path} is already the device `{slug}` of {holder}, at {place}"),
            "choose another path, or rename the device",
        ),
        None => Wrong::new(
            format!("{host}{path} already belongs to {holder}, at {place}"),
            "give one of them another host or path",
        ),
    };
    ("hosts", wrong)
}
