//! What is told to a tenant that loses an address.

use super::super::super::error::Wrong;
use super::super::super::source::SourceTexts;
use super::super::tenants::Claimant;
use super::address::{Address, Entry, Key};

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
    if path == "/" && (loser.is_below || winner.is_below) {
        return ("hosts", of_root(loser, winner, host));
    }
    let field = |entry: &Entry<'_>| match entry.what {
        Address::Shell(_) => "embed",
        Address::Itself | Address::Device(_) => "path",
    };
    let nested = "choose paths of which none begins with the other";
    if loser.is_below {
        let what = format!("`{}` lies inside `{path}` of {holder}, another tenant", loser.path());
        return (field(loser), Wrong::new(what, nested));
    }
    if winner.is_below {
        let what = format!("`{path}` has `{}` of {holder} inside, another tenant", winner.path());
        return (field(loser), Wrong::new(what, nested));
    }
    let wrong = match winner.what {
        Address::Device(slug) => Wrong::new(
            format!("{host}{path} is already the device `{slug}` of {holder}, at {place}"),
            "choose another path, or rename the device",
        ),
        Address::Itself | Address::Shell(_) => Wrong::new(
            format!("{host}{path} already belongs to {holder}, at {place}"),
            "give one of them another host or path",
        ),
    };
    ("hosts", wrong)
}

/// Who is at the root of a host is there alone.
fn of_root(loser: &Entry<'_>, winner: &Entry<'_>, host: &str) -> Wrong {
    if loser.is_below {
        let what = format!(
            "at the root of `{host}` is {}, whose cookies would be sent here too",
            winner.placed.what.key()
        );
        return Wrong::new(what, "give this one another host");
    }
    let what =
        format!("at the root of `{host}` its cookies would be sent to other tenants' apps there");
    let remedy = match &loser.placed.what {
        Claimant::Persona(_) => "give it a path, or a host of its own",
        Claimant::Site(_) => "give it a host of its own",
    };
    Wrong::new(what, remedy)
}
