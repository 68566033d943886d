//! The keys there are. Unknown keys, nearest names, variables and the reference all come from this one list.

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Server,
    Cache,
    Upstream,
    Credentials,
    Alias,
}

/// What a key holds, as far as a variable needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Many,
}

/// A key: where it stands, what it is called, its default as TOML, what it means.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) table: Table,
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// `None`: absent by default.
    pub(super) default: Option<&'static str>,
    /// A value to show where there is no default.
    pub(super) example: &'static str,
    pub(super) help: &'static str,
}

impl Key {
    /// Whether it holds one value, as a variable can give it.
    pub(super) fn is_one(&self) -> bool {
        self.form == Form::One
    }
}

impl Table {
    pub(super) const ALL: [Self; 5] = [Self::Server, Self::Cache, Self::Upstream, Self::Credentials, Self::Alias];

    /// The keys that may stand in it.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.table == self)
    }

    /// How it is written, with a name where an operator chooses one.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Server => "[server]",
            Self::Cache => "[cache]",
            Self::Upstream => "[upstream.\"registry.example.com\"]",
            Self::Credentials => "[[upstream.\"registry.example.com\".credentials]]",
            Self::Alias => "[alias.\"cache.example.com/dockerhub\"]",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Server => "The doors: where larder listens, and what a request means that names no registry.",
            Self::Cache => "What is kept, where and how long.",
            Self::Upstream => {
                "A registry that may be pulled from. The set is closed: a registry without a table here is never \
                 dialled. Shipped, with anonymous access: docker.io, ghcr.io, quay.io, registry.k8s.io, gcr.io, \
                 mcr.microsoft.com and public.ecr.aws; a table for one of them changes only the keys it sets."
            }
            Self::Credentials => {
                "What larder shows this upstream, so that nodes need no password. A user name, and exactly one of \
                 password_file and password_env."
            }
            Self::Alias => {
                "Another name of an upstream, such as the one an earlier cache was known by, with or without a path \
                 behind it. Shipped: index.docker.io, registry-1.docker.io and registry.hub.docker.com for docker.io."
            }
        }
    }
}

const fn key(table: Table, name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { table, name, form: Form::One, default: Some(default), example: default, help }
}

const fn optional(table: Table, name: &'static str, example: &'static str, help: &'static str) -> Key {
    Key { table, name, form: Form::One, default: None, example, help }
}

const fn list(table: Table, name: &'static str, example: &'static str, help: &'static str) -> Key {
    Key { table, name, form: Form::Many, default: Some("[]"), example, help }
}

/// Keys of later versions: refused with a sentence of their own rather than as unknown.
pub(super) const NOT_YET: [&str; 3] = ["repositories", "use", "provider"];

pub(super) static KEYS: &[Key] = &[
    key(
        Table::Server,
        "listen",
        "\"127.0.0.1:5000\"",
        "Where nodes speak the registry API: an IP address and a port. \"0.0.0.0:5000\" or \"[::]:5000\" opens it to \
         other machines.",
    ),
    key(
        Table::Server,
        "admin",
        "\"127.0.0.1:5001\"",
        "Where health (/livez, /readyz) and metrics (/metrics) are served: an IP address and a port.",
    ),
    key(Table::Server, "default_registry", "\"docker.io\"", "The upstream of a request that names none."),
    key(
        Table::Server,
        "honest_status",
        "false",
        "true: status codes as the specification has them for every client. false: a failed pull gets the status with \
         which the client shows the reason to its user (containerd hides what comes with a 404).",
    ),
    key(
        Table::Cache,
        "directory",
        "\"larder-data\"",
        "Where everything is kept. One running larder owns it; a relative path starts at the working directory.",
    ),
    key(
        Table::Cache,
        "size_max",
        "\"70%\"",
        "How much may be kept: a share of the file system, or an amount such as \"200GiB\".",
    ),
    key(
        Table::Cache,
        "free_min",
        "\"10%\"",
        "How much of the file system stays free, whoever fills it: a share or an amount.",
    ),
    key(
        Table::Cache,
        "tag_ttl",
        "\"60s\"",
        "Within it a cached tag is served without asking upstream. \"0s\" asks every time.",
    ),
    list(
        Table::Cache,
        "tags_immutable",
        "[\"v*.*.*\"]",
        "Patterns of tags that are never asked for again once held; * stands for any characters.",
    ),
    key(Table::Cache, "missing_ttl", "\"10s\"", "A name that upstream does not have is not asked for again within it."),
    key(Table::Cache, "stale_max", "\"30d\"", "How old a tag may be served while upstream cannot answer."),
    key(
        Table::Cache,
        "keep_deleted",
        "\"30d\"",
        "How long a tag that was deleted upstream stays served, with a warning.",
    ),
    key(Table::Cache, "offline", "false", "true: never dial anyone; what is held is served, whatever its age."),
    optional(
        Table::Upstream,
        "url",
        "\"https://registry.example.com\"",
        "Where its API is, without /v2. Default: https:// and the name of the table (docker.io: \
         https://registry-1.docker.io).",
    ),
    list(
        Table::Upstream,
        "urls",
        "[\"https://a.example.com\", \"https://b.example.com\"]",
        "Instead of url: several places of the same content, in the order they are tried. The credential belongs to the \
         first: another one is asked without it, unless it has the same scheme, host and port or trusted_realms lists \
         it.",
    ),
    optional(
        Table::Upstream,
        "ca_file",
        "\"/etc/larder/ca.pem\"",
        "Further certificate authorities (PEM), over the system's.",
    ),
    optional(
        Table::Upstream,
        "proxy",
        "\"http://proxy.example.com:3128\"",
        "The proxy to reach it by. Default: the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
    ),
    list(
        Table::Upstream,
        "trusted_realms",
        "[\"https://auth.example.com\"]",
        "Token services on other hosts, and others of urls, that may see its credentials: scheme, host and port, \
         without a path.",
    ),
    key(
        Table::Upstream,
        "redirects_private_allowed",
        "false",
        "true: the storage of this registry has private addresses here, as behind an interface endpoint of a cloud, \
         though the registry's own are public. A registry with private addresses needs no leave.",
    ),
    list(
        Table::Upstream,
        "repositories_allowed",
        "[\"team/**\"]",
        "Only these repositories may be pulled; empty: all. * stands for one part of the path, ** for any number.",
    ),
    list(
        Table::Upstream,
        "repositories_denied",
        "[\"team/secret\"]",
        "These repositories may not be pulled, whatever is allowed.",
    ),
    key(Table::Upstream, "fills_max", "64", "How many blobs are fetched from it at once, 1 to 10000."),
    optional(
        Table::Upstream,
        "bandwidth_max",
        "\"50MiB\"",
        "Bytes per second that all fetches from it share. Default: no limit.",
    ),
    optional(Table::Upstream, "tag_ttl", "\"10m\"", "Instead of cache.tag_ttl."),
    key(Table::Upstream, "offline", "false", "true: never dial it."),
    optional(Table::Credentials, "username", "\"robot\"", "The user name."),
    optional(
        Table::Credentials,
        "password_file",
        "\"/run/secrets/registry\"",
        "A file that holds the password or token and nothing else; one line break at its end is not part of it.",
    ),
    optional(Table::Credentials, "password_env", "\"REGISTRY_PASSWORD\"", "An environment variable that holds it."),
    optional(Table::Alias, "upstream", "\"docker.io\"", "The upstream that is meant."),
];
