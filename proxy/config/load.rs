//! From the text of the file and the environment to values.

use super::{
    Alias, Config, Error, Upstream, environment,
    error::Place,
    key::Table,
    section::{Document, Section, join, nearest, ordered},
    upstream_load::{credential, upstream},
};
use crate::oci::{Registry, Repository};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

const TOP: [&str; 4] = ["server", "cache", "upstream", "alias"];
const ADDRESS: &str = "an IP address and a port, such as \"127.0.0.1:5000\" or \"[::]:5000\"";

impl Config {
    /// Reads `file` and what `environment` sets above it; without a file the shipped configuration is the ground.
    ///
    /// # Errors
    /// The first mistake, with its place: nothing is taken in part.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let text = match file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|source| Error::Unreadable { file: file.to_owned(), source: Arc::new(source) })?,
            None => String::new(),
        };
        Self::parse(file.unwrap_or(Path::new("larder.toml")), &text, environment)
    }

    /// As [`Config::load`], from a text that was read already; `file` names it in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let document = Document { file, text };
        let variables: BTreeMap<String, String> = environment.collect();
        let root = DeTable::parse(text).map_err(|error| Error::Syntax {
            place: document.place(error.span().map_or(0, |span| span.start)),
            message: error.message().replace('\n', ", "),
        })?;
        let root = root.get_ref();
        for (name, _) in ordered(root) {
            if !TOP.contains(&name.get_ref().as_ref()) {
                return Err(unknown_table(document, name));
            }
        }
        let mut server = top_section(document, root, "server", Table::Server)?;
        let mut cache = top_section(document, root, "cache", Table::Cache)?;
        let mut named = BTreeSet::new();
        let mut config = Self::default();
        for (registry, place, section, credentials) in upstream_sections(document, root)? {
            let credentials = credentials
                .iter()
                .map(|section| credential(section, &variables, &mut named))
                .collect::<Result<Vec<_>, _>>()?;
            let ground = config.upstreams.remove(&registry);
            if let Some(alias) = config.aliases.iter().find(|alias| alias.registry == registry) {
                let problem = format!("is another name of {}: write [upstream.\"{0}\"] instead", alias.upstream);
                return Err(Error::Conflict { place, key: section.path, problem });
            }
            let mut value = upstream(&registry, ground, &section)?;
            value.credentials = credentials;
            config.upstreams.insert(registry, value);
        }
        environment::apply(&variables, &named, &mut server, &mut cache)?;
        server_from(&mut config, &server)?;
        cache_from(&mut config, &cache)?;
        aliases_from(&mut config, document, root)?;
        Ok(config)
    }

    /// What works but should not stay as it is: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let exposed = |upstream: &Upstream| {
            let url = upstream.urls.iter().find(|url| url.scheme() == "http" && !is_loopback(url))?;
            upstream.credentials.first().map(|credential| (url.clone(), credential.place.clone()))
        };
        self.upstreams
            .iter()
            .filter_map(|(registry, upstream)| {
                let (url, place) = exposed(upstream)?;
                Some(format!(
                    "{registry} is reached by {url}: the password of {place} crosses the network unencrypted. Use https."
                ))
            })
            .collect()
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn unknown_table(document: Document<'_>, name: &Spanned<toml::de::DeString<'_>>) -> Error {
    let hint = match nearest(name.get_ref(), TOP) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            match Table::ALL.into_iter().find(|table| table.keys().any(|key| key.name == name.get_ref().as_ref())) {
                Some(table) => format!("`{}` stands in {}", name.get_ref(), table.heading()),
                None => format!("known there: {}", TOP.join(", ")),
            }
        }
    };
    Error::UnknownKey { place: document.place(name.span().start), key: join("", name.get_ref()), hint }
}

fn top_section<'a>(
    document: Document<'a>,
    root: &'a DeTable<'a>,
    name: &str,
    table: Table,
) -> Result<Section<'a>, Error> {
    match root.get(name) {
        Some(value) => Section::read(document, table, name, value, &[]),
        None => Ok(Section::empty(name, document.place(0))),
    }
}

type NamedTables<'a> = Vec<(String, Place, &'a Spanned<DeValue<'a>>)>;

/// The tables below a top-level name, as `[upstream."X"]` stand below `upstream`, with the place of each name.
fn named_tables<'a>(
    document: Document<'a>,
    root: &'a DeTable<'a>,
    top: &str,
    table: Table,
) -> Result<NamedTables<'a>, Error> {
    let Some(value) = root.get(top) else { return Ok(Vec::new()) };
    let DeValue::Table(entries) = value.get_ref() else {
        let problem = format!("must be a table with a name, as in {}", table.heading());
        return Err(Error::Conflict { place: document.place(value.span().start), key: top.to_owned(), problem });
    };
    Ok(ordered(entries)
        .into_iter()
        .map(|(name, value)| (name.get_ref().to_string(), document.place(name.span().start), value))
        .collect())
}

type UpstreamSections<'a> = Vec<(Registry, Place, Section<'a>, Vec<Section<'a>>)>;

fn upstream_sections<'a>(document: Document<'a>, root: &'a DeTable<'a>) -> Result<UpstreamSections<'a>, Error> {
    let mut sections: UpstreamSections<'a> = Vec::new();
    for (name, place, value) in named_tables(document, root, "upstream", Table::Upstream)? {
        let path = join("upstream", &name);
        let conflict = |problem: String| Error::Conflict { place: place.clone(), key: path.clone(), problem };
        let registry: Registry = name.parse().map_err(|error: crate::oci::Error| {
            conflict(format!(
                "names no registry: {}. Quotes are needed around a name with dots, as in [upstream.\"docker.io\"]",
                error.problem
            ))
        })?;
        if let DeValue::Table(entries) = value.get_ref()
            && !Registry::is_registry_component(&name)
            && entries.values().any(|value| matches!(value.get_ref(), DeValue::Table(_)))
        {
            return Err(conflict("needs quotes around the registry's name, as in [upstream.\"docker.io\"]".to_owned()));
        }
        if sections.iter().any(|(other, ..)| *other == registry) {
            return Err(conflict("is there twice, in another spelling".to_owned()));
        }
        let section = Section::read(document, Table::Upstream, &path, value, &["credentials"])?;
        let credentials = credential_sections(document, &path, value)?;
        sections.push((registry, place, section, credentials));
    }
    Ok(sections)
}

fn credential_sections<'a>(
    document: Document<'a>,
    upstream_path: &str,
    upstream: &'a Spanned<DeValue<'a>>,
) -> Result<Vec<Section<'a>>, Error> {
    let DeValue::Table(entries) = upstream.get_ref() else { return Ok(Vec::new()) };
    let Some(value) = entries.get("credentials") else { return Ok(Vec::new()) };
    let path = join(upstream_path, "credentials");
    let conflict =
        |at: usize, problem: String| Error::Conflict { place: document.place(at), key: path.clone(), problem };
    let DeValue::Array(items) = value.get_ref() else {
        let problem = format!("must stand between two pairs of brackets, as in {}", Table::Credentials.heading());
        return Err(conflict(value.span().start, problem));
    };
    if let Some(second) = items.get(1) {
        let problem =
            "has more than one entry, which this version does not support: one entry serves the whole upstream";
        return Err(conflict(second.span().start, problem.to_owned()));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| Section::read(document, Table::Credentials, &format!("{path}[{index}]"), item, &[]))
        .collect()
}

fn server_from(config: &mut Config, section: &Section<'_>) -> Result<(), Error> {
    let server = &mut config.server;
    section.over("listen", &mut server.listen, |given| given.parsed(ADDRESS))?;
    section.over("admin", &mut server.admin, |given| given.parsed(ADDRESS))?;
    section.over("honest_status", &mut server.honest_status, |given| given.boolean())?;
    section.over("default_registry", &mut server.default_registry, |given| {
        given.parsed("the name of a registry, such as \"docker.io\"")
    })?;
    let known = || config.upstreams.keys().map(Registry::as_str).collect::<Vec<_>>().join(", ");
    if !config.upstreams.contains_key(&config.server.default_registry)
        && let Some(given) = section.get("default_registry")
    {
        return Err(given.must_be(format!("one of the configured upstreams: {}", known())));
    }
    if config.server.listen == config.server.admin && config.server.listen.port() != 0 {
        let given = section.get("admin").or(section.get("listen"));
        let problem = "is the address of the other door too: `server.listen` and `server.admin` need one each";
        return Err(given.map_or_else(|| section.conflict(problem), |given| given.conflict(problem)));
    }
    Ok(())
}

fn cache_from(config: &mut Config, section: &Section<'_>) -> Result<(), Error> {
    let size = "a share of the file system such as \"70%\", or an amount such as \"200GiB\"";
    let cache = &mut config.cache;
    section.over("directory", &mut cache.directory, |given| {
        let allowed = "the path of a directory";
        let text = given.text(allowed)?;
        if text.is_empty() { Err(given.must_be(allowed)) } else { Ok(PathBuf::from(text)) }
    })?;
    section.over("size_max", &mut cache.size_max, |given| match given.size(size)? {
        super::Size::Bytes(0) => Err(given.must_be(size)),
        size => Ok(size),
    })?;
    section.over("free_min", &mut cache.free_min, |given| given.size(size))?;
    section.over("tag_ttl", &mut cache.tag_ttl, |given| given.duration())?;
    section.over("tags_immutable", &mut cache.tags_immutable, |given| given.patterns())?;
    section.over("missing_ttl", &mut cache.missing_ttl, |given| given.duration())?;
    section.over("stale_max", &mut cache.stale_max, |given| given.duration())?;
    section.over("keep_deleted", &mut cache.keep_deleted, |given| given.duration())?;
    section.over("offline", &mut cache.offline, |given| given.boolean())
}

/// The longest names come first, so that the first match is the closest one.
fn aliases_from<'a>(config: &mut Config, document: Document<'a>, root: &'a DeTable<'a>) -> Result<(), Error> {
    for (name, place, value) in named_tables(document, root, "alias", Table::Alias)? {
        let path = join("alias", &name);
        let conflict = |problem: String| Error::Conflict { place: place.clone(), key: path.clone(), problem };
        let (registry, prefix) = match name.split_once('/') {
            Some((registry, prefix)) => (registry, Some(prefix)),
            None => (name.as_str(), None),
        };
        let invalid = |error: crate::oci::Error| conflict(format!("names no registry with a path: {error}"));
        let registry: Registry = registry.parse().map_err(invalid)?;
        let prefix: Option<Repository> = prefix.map(str::parse).transpose().map_err(invalid)?;
        let section = Section::read(document, Table::Alias, &path, value, &[])?;
        let allowed = || {
            let known: Vec<&str> = config.upstreams.keys().map(Registry::as_str).collect();
            format!("one of the configured upstreams: {}", known.join(", "))
        };
        let given = section.get("upstream").ok_or_else(|| conflict("does not say its `upstream`".to_owned()))?;
        let upstream: Registry = given.parsed(&allowed())?;
        if !config.upstreams.contains_key(&upstream) {
            return Err(given.must_be(allowed()));
        }
        if prefix.is_none() && config.upstreams.contains_key(&registry) {
            return Err(conflict(format!("has the name of the upstream {registry}: a name can mean only one of them")));
        }
        config.aliases.retain(|alias| alias.registry != registry || alias.prefix != prefix);
        config.aliases.push(Alias { registry, prefix, upstream });
    }
    let length = |alias: &Alias| alias.prefix.as_ref().map_or(0, |prefix| prefix.as_str().len() + 1);
    config.aliases.sort_by_key(|alias| std::cmp::Reverse(alias.registry.as_str().len() + length(alias)));
    Ok(())
}
