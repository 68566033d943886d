//! The variables of the environment that stand for keys.

use super::{
    Error,
    key::{KEYS, Table},
    section::{Section, nearest},
};
use std::collections::{BTreeMap, BTreeSet};

const PREFIX: &str = "LARDER_";
/// Read by the log, which starts before the configuration.
const LOG: &str = "LARDER_LOG";
/// What steers our own tests, whose programs inherit it.
const TESTS: &str = "LARDER_TEST_";

/// Puts `LARDER_SERVER_*` and `LARDER_CACHE_*` above what the file says. `named` are variables that the file itself
/// names as the place of a secret.
///
/// # Errors
/// A variable with our prefix that stands for nothing.
pub(super) fn apply<'a>(
    variables: &'a BTreeMap<String, String>,
    named: &BTreeSet<String>,
    server: &mut Section<'a>,
    cache: &mut Section<'a>,
) -> Result<(), Error> {
    for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let known = KEYS.iter().find(|key| variable(key.table, key.name).as_ref() == Some(name));
        match known {
            Some(key) if !key.is_one() => {
                return Err(Error::UnknownVariable {
                    name: name.clone(),
                    hint: format!("`cache.{}` is a list and can be set in the file only", key.name),
                });
            }
            Some(key) if key.table == Table::Server => server.set(key.name, name, text),
            Some(key) => cache.set(key.name, name, text),
            None if name == LOG || name.starts_with(TESTS) || named.contains(name) || is_service_link(name) => {}
            None => return Err(Error::UnknownVariable { name: name.clone(), hint: hint(name) }),
        }
    }
    Ok(())
}

/// The variable that stands for a key, where there is one.
pub(super) fn variable(table: Table, name: &str) -> Option<String> {
    let table = match table {
        Table::Server => "SERVER",
        Table::Cache => "CACHE",
        Table::Upstream | Table::Credentials | Table::Alias => return None,
    };
    Some(format!("{PREFIX}{table}_{}", name.to_ascii_uppercase()))
}

/// Kubernetes sets variables such as `LARDER_PORT_5000_TCP` and `LARDER_SERVICE_HOST` in every pod of a namespace that
/// has a service named `larder` or `larder-...`: nobody meant them for us.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    name.ends_with("_SERVICE_HOST")
        || name.split_once("_SERVICE_PORT").is_some_and(|(_, rest)| is_port(rest))
        || name.ends_with("_PORT")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            name.split_once("_PORT_").is_some_and(|(_, rest)| {
                rest.split_once(protocol).is_some_and(|(digits, rest)| {
                    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && is_port(rest)
                })
            })
        })
}

fn hint(name: &str) -> String {
    let known: Vec<String> = KEYS.iter().filter_map(|key| variable(key.table, key.name)).collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "variables are LARDER_SERVER_ or LARDER_CACHE_ and the name of a key, such as LARDER_CACHE_TAG_TTL"
            .to_owned(),
    }
}
