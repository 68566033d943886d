//! What an operator may write, and the words that answer a mistake.

use super::*;
use std::{path::Path, time::Duration};

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("larder.toml"), text, variables)
}

fn load(text: &str) -> Config {
    load_with(text, &[]).unwrap()
}

fn words(text: &str) -> String {
    load_with(text, &[]).unwrap_err().to_string()
}

fn registry(text: &str) -> Registry {
    text.parse().unwrap()
}

fn resolved(config: &Config, name: &str) -> Option<String> {
    let (first, path) = name.split_once('/').unwrap();
    config.resolve(&registry(first), &path.parse().unwrap()).map(|(registry, path)| format!("{registry}/{path}"))
}

#[test]
fn nothing_written_is_the_shipped_configuration() {
    let config = load("");
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert_eq!(config.upstreams.len(), 7);
    assert_eq!(config.upstreams[&registry("docker.io")].urls[0].as_str(), "https://registry-1.docker.io/");
}

#[test]
fn the_reference_is_the_one_generated_from_the_list() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.toml");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(&file, reference()).unwrap();
    }
    let held = std::fs::read_to_string(&file).unwrap();
    assert!(held == reference(), "write it anew: WRITE_REFERENCE=1 cargo test the_reference");
}

#[test]
fn the_reference_shows_the_true_defaults_and_examples_that_load() {
    let uncommented = reference()
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| !["urls", "ca_file", "password_file", "tags_immutable"].iter().any(|key| line.starts_with(key)))
        .collect::<Vec<_>>()
        .join("\n");
    let config = load_with(&uncommented, &[("REGISTRY_PASSWORD", "x")]).unwrap();
    let expected = Config::default();
    assert_eq!(format!("{:?}", config.server), format!("{:?}", expected.server));
    assert_eq!(format!("{:?}", config.cache), format!("{:?}", expected.cache));
    assert_eq!(config.upstreams[&registry("registry.example.com")].fills_max, 64);
}

#[test]
fn the_example_loads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/larder.toml");
    let config = Config::load(Some(&file), std::iter::empty()).unwrap();
    assert_eq!(resolved(&config, "harbor.corp/dockerhub/nginx").as_deref(), Some("docker.io/library/nginx"));
}

#[test]
fn every_key_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let config = load(&format!(
        r#"
        [server]
        listen = "[::]:5000"
        admin = "0.0.0.0:0"
        default_registry = "GHCR.io"
        honest_status = true
        [cache]
        directory = "/var/lib/larder"
        size_max = "200GiB"
        free_min = 1024
        tag_ttl = "0s"
        tags_immutable = ["v*.*.*"]
        missing_ttl = "1m 5s"
        offline = true
        [upstream."localhost:5000"]
        urls = ["http://localhost:5000", "http://127.0.0.1:5000/prefix"]
        ca_file = "/ca.pem"
        proxy = "http://proxy:3128"
        trusted_realms = ["https://auth.example.com", "http://auth:8080/"]
        redirects_private_allowed = true
        repositories_allowed = ["team/**"]
        repositories_denied = ["team/x"]
        fills_max = 7
        bandwidth_max = "50MiB"
        tag_ttl = "10m"
        offline = true
        [[upstream."localhost:5000".credentials]]
        username = "robot"
        password_file = "{}"
        "#,
        secret.display()
    ));
    assert_eq!(config.cache.missing_ttl, Duration::from_secs(65));
    assert_eq!(config.cache.free_min, Size::Bytes(1024));
    assert_eq!(config.server.default_registry, registry("ghcr.io"));
    let upstream = &config.upstreams[&registry("localhost:5000")];
    assert_eq!(upstream.urls.len(), 2);
    assert_eq!(upstream.trusted_realms[1].to_string(), "http://auth:8080");
    assert!(upstream.redirects_private_allowed);
    assert_eq!(upstream.bandwidth_max.map(u64::from), Some(50 << 20));
    assert_eq!(upstream.credentials[0].password.expose(), "hunter2");
    assert_eq!(upstream.credentials[0].place, "upstream.\"localhost:5000\".credentials[0]");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn variables_count_above_the_file() {
    let variables = [
        ("LARDER_CACHE_TAG_TTL", "5m"),
        ("LARDER_SERVER_HONEST_STATUS", "true"),
        ("LARDER_LOG", "debug"),
        ("LARDER_SERVICE_HOST", "10.0.0.1"),
        ("LARDER_PORT", "tcp://10.0.0.1:5000"),
        ("LARDER_CACHE_PORT_5000_TCP_ADDR", "10.0.0.1"),
        ("LARDER_SERVICE_PORT_ADMIN", "5001"),
        ("LARDER_HUB", "hunter2"),
        ("PATH", "/bin"),
    ];
    let text = "[cache]\ntag_ttl = \"60s\"\n[[upstream.\"docker.io\".credentials]]\nusername = \"u\"\npassword_env = \"LARDER_HUB\"";
    let config = load_with(text, &variables).unwrap();
    assert_eq!(config.cache.tag_ttl, Duration::from_secs(300));
    assert!(config.server.honest_status);
    assert_eq!(config.upstreams[&registry("docker.io")].urls[0].as_str(), "https://registry-1.docker.io/");
    for (name, value, expected) in [
        ("LARDER_CACHE_TAGTTL", "5m", "unknown variable LARDER_CACHE_TAGTTL; did you mean LARDER_CACHE_TAG_TTL?"),
        (
            "LARDER_CACHE_TAGS_IMMUTABLE",
            "x",
            "unknown variable LARDER_CACHE_TAGS_IMMUTABLE; `cache.tags_immutable` is a list and can be set in the file only",
        ),
        (
            "LARDER_SERVER_LISTEN",
            "5000",
            "LARDER_SERVER_LISTEN: `server.listen` is \"5000\", but it must be an IP address and a port, such as \
             \"127.0.0.1:5000\" or \"[::]:5000\"",
        ),
    ] {
        assert_eq!(load_with("", &[(name, value)]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
    let errors: Vec<String> = [
        "[cache]\n  tagttl = \"60s\"",
        "[cahce]",
        "tag_ttl = \"1s\"",
        "[cache]\nlisten = \"x\"",
        "[cache]\nxyzzy = 1",
        "[cache]\ntag_ttl = 60",
        "[cache]\ntag_ttl = \"300y\"",
        "[cache]\nsize_max = \"0\"",
        "[cache]\ntag_ttl = \"1s\"\ntag_ttl = \"2s\"",
        "[cache",
        "cache = 5",
        "[server]\ndefault_registry = \"quay.example\"",
        "[server]\nlisten = \"127.0.0.1:5001\"",
        "[upstream.docker.io]\noffline = true",
        "[upstream.\"docker.io\"]\ntagttl = \"1s\"",
        "[upstream.\"docker.io\"]\nurl = \"https://user:hunter2@a.example/\"",
        "[upstream.\"docker.io\"]\nurl = \"https://a.example/v2/\"",
        "[upstream.\"docker.io\"]\nurl = \"https://a.example\"\nurls = [\"https://b.example\"]",
        "[upstream.\"docker.io\"]\nfills_max = 0",
        "[upstream.\"docker.io\"]\ntrusted_realms = [\"http://auth.example\"]",
        "[upstream.\"docker.io\"]\ntrusted_realms = [\"https://auth.example/token\"]",
        "[upstream.\"a b\"]",
        "[upstream.\"index.docker.io\"]",
        "[upstream.\"GHCR.io\"]\n[upstream.\"ghcr.io\"]",
        "[upstream.\"docker.io\".credentials]\nusername = \"x\"",
        "[[upstream.\"docker.io\".credentials]]\nusername = \"u:hunter2\"\npassword_env = \"X\"",
        "[[upstream.\"docker.io\".credentials]]\nusername = \"u\"",
        "[[upstream.\"docker.io\".credentials]]\nusername = \"u\"\npassword = \"hunter2\"",
        "[[upstream.\"docker.io\".credentials]]\nusername = \"u\"\npassword_env = \"X\"",
        "[[upstream.\"docker.io\".credentials]]\nusername = \"u\"\npassword_file = \"/nowhere/at/all\"",
        "[[upstream.\"docker.io\".credentials]]\nprovider = \"aws-ecr\"",
        "[[upstream.\"docker.io\".credentials]]\n[[upstream.\"docker.io\".credentials]]",
        "[alias.\"harbor.corp/hub\"]\nupstream = \"dockr.io\"",
        "[alias.\"harbor.corp/Hub\"]\nupstream = \"docker.io\"",
        "[alias.\"ghcr.io\"]\nupstream = \"docker.io\"",
        "[alias.\"harbor.corp\"]",
    ]
    .into_iter()
    .map(words)
    .collect();
    assert!(!errors.iter().any(|error| error.contains("hunter2")));
    insta::assert_snapshot!(errors.join("\n"), @r#"
    larder.toml:2:3: unknown key `cache.tagttl`; did you mean `cache.tag_ttl`?
    larder.toml:1:2: unknown key `cahce`; did you mean `cache`?
    larder.toml:1:1: unknown key `tag_ttl`; `tag_ttl` stands in [cache]
    larder.toml:2:1: unknown key `cache.listen`; `listen` stands in [server]
    larder.toml:2:1: unknown key `cache.xyzzy`; known there: directory, size_max, free_min, tag_ttl, tags_immutable, missing_ttl, stale_max, keep_deleted, offline
    larder.toml:2:1: `cache.tag_ttl` is 60, but it must be a time such as "90s", "15m", "12h" or "30d", at most 100 years
    larder.toml:2:1: `cache.tag_ttl` is "300y", but it must be a time such as "90s", "15m", "12h" or "30d", at most 100 years
    larder.toml:2:1: `cache.size_max` is "0", but it must be a share of the file system such as "70%", or an amount such as "200GiB"
    larder.toml:3:1: duplicate key
    larder.toml:1:7: unclosed table, expected `]`
    larder.toml:1:9: `cache` is 5, but it must be a table, as in [cache]
    larder.toml:2:1: `server.default_registry` is "quay.example", but it must be one of the configured upstreams: docker.io, gcr.io, ghcr.io, mcr.microsoft.com, public.ecr.aws, quay.io, registry.k8s.io
    larder.toml:2:1: `server.listen` is the address of the other door too: `server.listen` and `server.admin` need one each
    larder.toml:1:11: `upstream.docker` needs quotes around the registry's name, as in [upstream."docker.io"]
    larder.toml:2:1: unknown key `upstream."docker.io".tagttl`; did you mean `upstream."docker.io".tag_ttl`?
    larder.toml:2:1: `upstream."docker.io".url` is "https://[REDACTED]@a.example/", but it must be an http or https URL such as "https://registry.example.com", without /v2, user, query or fragment
    larder.toml:2:1: `upstream."docker.io".url` is "https://a.example/v2/", but it must be an http or https URL such as "https://registry.example.com", without /v2, user, query or fragment
    larder.toml:3:1: `upstream."docker.io".urls` and `url` exclude each other: write one of them
    larder.toml:2:1: `upstream."docker.io".fills_max` is 0, but it must be a number from 1 to 10000
    larder.toml:2:1: `upstream."docker.io".trusted_realms` is ["http://auth.example"], but it must be a list of origins such as ["https://auth.example.com"]: https (http only where the upstream is http itself), no path
    larder.toml:2:1: `upstream."docker.io".trusted_realms` is ["https://auth.example/token"], but it must be a list of origins such as ["https://auth.example.com"]: https (http only where the upstream is http itself), no path
    larder.toml:1:11: `upstream."a b"` names no registry: ' ' may not stand at position 2. Quotes are needed around a name with dots, as in [upstream."docker.io"]
    larder.toml:1:11: `upstream."index.docker.io"` is another name of docker.io: write [upstream."docker.io"] instead
    larder.toml:2:11: `upstream."ghcr.io"` is there twice, in another spelling
    larder.toml:1:1: `upstream."docker.io".credentials` must stand between two pairs of brackets, as in [[upstream."registry.example.com".credentials]]
    larder.toml:2:1: `upstream."docker.io".credentials[0].username` must not be empty and may hold neither a colon nor a control character
    larder.toml:1:1: `upstream."docker.io".credentials[0]` needs exactly one of `password_file` and `password_env`
    larder.toml:3:1: unknown key `upstream."docker.io".credentials[0].password`; did you mean `upstream."docker.io".credentials[0].password_env`?
    larder.toml:3:1: `upstream."docker.io".credentials[0].password_env` names the variable X, which is not set
    larder.toml:3:1: `upstream."docker.io".credentials[0].password_file` names the file /nowhere/at/all, which cannot be read
    larder.toml:2:1: `upstream."docker.io".credentials[0].provider` is not supported by this version: one user name with a password serves the whole upstream
    larder.toml:2:1: `upstream."docker.io".credentials` has more than one entry, which this version does not support: one entry serves the whole upstream
    larder.toml:2:1: `alias."harbor.corp/hub".upstream` is "dockr.io", but it must be one of the configured upstreams: docker.io, gcr.io, ghcr.io, mcr.microsoft.com, public.ecr.aws, quay.io, registry.k8s.io
    larder.toml:1:8: `alias."harbor.corp/Hub"` names no registry with a path: "Hub" is not a valid repository: 'H' may not stand at position 1
    larder.toml:1:8: `alias."ghcr.io"` has the name of the upstream ghcr.io: a name can mean only one of them
    larder.toml:1:8: `alias."harbor.corp"` does not say its `upstream`
    "#);
}

#[test]
fn a_secret_is_what_its_file_holds_but_one_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let text =
        format!("[[upstream.\"docker.io\".credentials]]\nusername = \"u\"\npassword_file = \"{}\"", file.display());
    for (held, expected) in
        [("x\n", Ok("x")), ("x\r\n", Ok("x")), ("x\n\n", Ok("x\n")), ("a b", Ok("a b")), ("\n", Err("is empty"))]
    {
        std::fs::write(&file, held).unwrap();
        match (load_with(&text, &[]), expected) {
            (Ok(config), Ok(expected)) => {
                assert_eq!(config.upstreams[&registry("docker.io")].credentials[0].password.expose(), expected);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().ends_with(expected), "{error}"),
            (given, _) => panic!("{held:?}: {:?}", given.err()),
        }
    }
    std::fs::write(&file, b"hunter2\xff").unwrap();
    let error = load_with(&text, &[]).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[test]
fn names_resolve_to_upstreams_and_never_beyond() {
    let config = load(
        "[upstream.\"harbor.corp\"]\n\
         [alias.\"harbor.corp/hub\"]\nupstream = \"docker.io\"\n\
         [alias.\"harbor.corp/hub/quay\"]\nupstream = \"quay.io\"\n\
         [alias.\"old.corp\"]\nupstream = \"ghcr.io\"",
    );
    for (given, expected) in [
        ("docker.io/nginx", Some("docker.io/library/nginx")),
        ("index.docker.io/nginx", Some("docker.io/library/nginx")),
        ("docker.io/org/app", Some("docker.io/org/app")),
        ("ghcr.io/app", Some("ghcr.io/app")),
        ("harbor.corp/hub/nginx", Some("docker.io/library/nginx")),
        ("harbor.corp/hub/quay/a/b", Some("quay.io/a/b")),
        ("harbor.corp/hub2/nginx", Some("harbor.corp/hub2/nginx")),
        ("harbor.corp/hub", Some("harbor.corp/hub")),
        ("old.corp/a/b", Some("ghcr.io/a/b")),
        ("elsewhere.corp/a", None),
    ] {
        assert_eq!(resolved(&config, given).as_deref(), expected, "{given}");
    }
}

#[test]
fn a_password_on_an_open_line_is_warned_of() {
    let with = |url: &str| {
        let text = format!(
            "[upstream.\"a.example\"]\nurl = \"{url}\"\n[[upstream.\"a.example\".credentials]]\nusername = \"u\"\npassword_env = \"P\""
        );
        load_with(&text, &[("P", "x")]).unwrap().warnings()
    };
    assert_eq!(with("https://a.example"), Vec::<String>::new());
    assert_eq!(with("http://127.0.0.1:5000"), Vec::<String>::new());
    assert_eq!(
        with("http://a.example"),
        ["a.example is reached by http://a.example/: the password of upstream.\"a.example\".credentials[0] crosses \
          the network unencrypted. Use https."]
    );
}

#[test]
fn a_credential_belongs_to_the_first_url() {
    let text = "[upstream.\"a.example\"]\n\
        urls = [\"https://a.example\", \"https://a.example:443/prefix\", \"https://b.example\", \"http://a.example\", \
        \"https://c.example\"]\ntrusted_realms = [\"https://c.example\"]";
    let upstream = &load(text).upstreams[&registry("a.example")];
    let entitled: Vec<bool> = upstream.urls.iter().map(|url| upstream.is_entitled(url)).collect();
    assert_eq!(entitled, [true, true, false, false, true]);
}

#[test]
fn no_error_repeats_what_may_be_a_password() {
    let credential = "[[upstream.\"a.example\".credentials]]\nusername = \"u\"\n";
    let proxy = "[upstream.\"a.example\"]\nproxy =";
    let errors: Vec<String> = [
        format!("{proxy} \"http://u:hunter2@proxy:3128\""),
        format!("{proxy} \"u:hunter2@proxy:3128\""),
        format!("{proxy} \"http://u:hunter2@part@proxy:3128\""),
        format!("{proxy} \"u:hunter2://x@proxy:3128\""),
        format!("{proxy} [\"u:hunter2@proxy:3128\"]"),
        "[upstream.\"a.example\"]\nurls = [\"https://u:hunter2/x@a.example\"]".to_owned(),
        format!("{credential}password_env = \"hunter2\""),
        format!("{credential}password_env = \"hunter2=\""),
        format!("{credential}password_env = [\"hunter2\"]"),
    ]
    .iter()
    .map(|text| load_with(text, &[]).unwrap_err().to_string())
    .collect();
    assert!(!errors.iter().any(|error| error.contains("hunter2")), "{errors:#?}");
    assert!(errors[1].contains("\"[REDACTED]@proxy:3128\""), "{}", errors[1]);
    assert!(errors[6].ends_with("names a variable, which is not set"), "{}", errors[6]);
}
