//! What stands in front of a persona's app or of a site.

use std::sync::Arc;

use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::{Entry, Table};
use super::super::source::At;
use super::Compiler;
use crate::policy::front::Front;
use crate::policy::front::compression::{Compression, MediaRange};

/// Whose, and where problems go.
type For<'t, 'c, 'p> = (&'t Arc<str>, &'c mut Compiler<'p>);

/// A persona's.
pub fn persona(
    one: &Entry<raw::Persona>,
    defaults: &Defaults<'_>,
    (tenant, compiler): For<'_, '_, '_>,
) -> Front {
    let raw = &*one.value;
    let key = format!("tenants.{tenant}.personas.{}", one.name);
    Front {
        direction: raw.direction.as_ref().map(|at| at.value),
        compression: defaults.compression(raw.compression.as_ref(), &key, compiler),
    }
}

/// A site's.
pub fn site(
    one: &Entry<raw::Site>,
    defaults: &Defaults<'_>,
    (tenant, compiler): For<'_, '_, '_>,
) -> Front {
    let raw = &*one.value;
    let key = format!("tenants.{tenant}.sites.{}", one.name);
    Front {
        direction: None,
        compression: defaults.compression(raw.compression.as_ref(), &key, compiler),
    }
}

/// What personas and sites have from the server, made once for all of them.
#[derive(Clone)]
pub struct Defaults<'r> {
    raw: Option<&'r raw::Compression>,
    compression: Option<Arc<Compression>>,
}

impl<'r> Defaults<'r> {
    pub fn new(root: &'r raw::Root) -> Self {
        let raw = root.server.as_ref().and_then(|at| at.value.compression.as_ref());
        let raw = raw.map(|at| &*at.value);
        Self { raw, compression: merged(&[raw]) }
    }

    fn compression(
        &self,
        own: Option<&At<Table<raw::Compression>>>,
        key: &str,
        compiler: &mut Compiler<'_>,
    ) -> Option<Arc<Compression>> {
        let Some(own) = own else { return self.compression.clone() };
        let own = &*own.value;
        if let Some(encodings) = own.encodings.as_ref().filter(|at| at.value.is_empty())
            && (own.min_bytes.is_some() || own.types.is_some())
        {
            let what = "nothing is compressed, so that the keys beside it have no effect";
            let remedy = "leave them out, or write encodings = [\"zstd\", \"gzip\"]";
            let key = format!("{key}.compression.encodings");
            compiler.problems.error(encodings.spot, key, Wrong::new(what, remedy));
        }
        merged(&[Some(own), self.raw])
    }
}

/// Key by key, the first that says something.
fn merged(tables: &[Option<&raw::Compression>]) -> Option<Arc<Compression>> {
    let find = || tables.iter().copied().flatten();
    let codings: Box<[_]> = match find().find_map(|table| table.encodings.as_ref()) {
        Some(codings) => codings.value.iter().map(|at| at.value).collect(),
        None => Compression::CODINGS.into(),
    };
    let types = match find().find_map(|table| table.types.as_ref()) {
        Some(types) => types.value.iter().map(|at| at.value.clone()).collect(),
        None => Compression::TYPES.into_iter().filter_map(MediaRange::parse).collect(),
    };
    let min_bytes = find().find_map(|table| table.min_bytes.as_ref());
    let min_bytes = min_bytes.map_or(Compression::MIN_BYTES, |at| at.value.0);
    (!codings.is_empty()).then(|| Arc::new(Compression { codings, min_bytes, types }))
}
