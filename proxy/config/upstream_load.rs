//! `[upstream."NAME"]` and its credentials, from the file.

use super::{Credential, Error, Origin, Secret, SecretSource, Size, Upstream, given::Given, section::Section};
use crate::oci::Registry;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    num::NonZeroU64,
    path::PathBuf,
    sync::Arc,
};
use url::Url;

/// Far above every password, token and key file there is.
const SECRET_SIZE_BYTES_MAX: u64 = 64 << 10;
const URL: &str = "an http or https URL such as \"https://registry.example.com\", without /v2, user, query or fragment";

/// What the table says, over what was shipped under this name.
pub(super) fn upstream(
    registry: &Registry,
    ground: Option<Upstream>,
    section: &Section<'_>,
) -> Result<Upstream, Error> {
    let mut upstream = match ground {
        Some(ground) => ground,
        None => Upstream::at(vec![
            Url::parse(&format!("https://{registry}"))
                .map_err(|_| section.conflict("cannot be dialled by its name: give its `url`"))?,
        ]),
    };
    if let (Some(_), Some(urls)) = (section.get("url"), section.get("urls")) {
        return Err(urls.conflict("and `url` exclude each other: write one of them"));
    }
    section.over("url", &mut upstream.urls, |given| {
        api_url(given.text(URL)?).map(|url| vec![url]).ok_or_else(|| given.must_be(URL))
    })?;
    section.over("urls", &mut upstream.urls, |given| {
        let allowed = format!("a list, each of it {URL}");
        let urls = given.list(&allowed, api_url)?;
        if urls.is_empty() { Err(given.must_be(allowed)) } else { Ok(urls) }
    })?;
    section.over("ca_file", &mut upstream.ca_file, |given| path(given, "the path of a PEM file").map(Some))?;
    section.over("proxy", &mut upstream.proxy, |given| {
        let allowed = "an http or https URL such as \"http://proxy.example.com:3128\", without a path; \
                       a proxy that wants a password is given by HTTPS_PROXY";
        proxy_url(given.text(allowed)?).map(Some).ok_or_else(|| given.must_be(allowed))
    })?;
    let https_only = upstream.urls.first().is_none_or(|url| url.scheme() == "https");
    section.over("trusted_realms", &mut upstream.trusted_realms, |given| {
        let allowed = "a list of origins such as [\"https://auth.example.com\"]: https (http only where the upstream \
                       is http itself), no path";
        given.list(allowed, |text| realm(text, https_only))
    })?;
    section.over("redirects_private_allowed", &mut upstream.redirects_private_allowed, Given::boolean)?;
    section.over("repositories_allowed", &mut upstream.repositories_allowed, Given::patterns)?;
    section.over("repositories_denied", &mut upstream.repositories_denied, Given::patterns)?;
    section.over("fills_max", &mut upstream.fills_max, |given| given.count(1, 10_000))?;
    section.over("bandwidth_max", &mut upstream.bandwidth_max, |given| {
        let allowed = "an amount per second such as \"50MiB\"";
        match given.size(allowed)? {
            Size::Bytes(bytes) => NonZeroU64::new(bytes).map(Some).ok_or_else(|| given.must_be(allowed)),
            Size::Percent(_) => Err(given.must_be(allowed)),
        }
    })?;
    section.over("tag_ttl", &mut upstream.tag_ttl, |given| given.duration().map(Some))?;
    section.over("offline", &mut upstream.offline, Given::boolean)?;
    Ok(upstream)
}

fn path(given: &Given<'_>, allowed: &str) -> Result<PathBuf, Error> {
    let text = given.text(allowed)?;
    if text.is_empty() { Err(given.must_be(allowed)) } else { Ok(PathBuf::from(text)) }
}

fn http_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

fn api_url(text: &str) -> Option<Url> {
    http_url(text).filter(|url| !matches!(url.path().trim_end_matches('/').rsplit('/').next(), Some("v2" | "v1")))
}

fn proxy_url(text: &str) -> Option<Url> {
    http_url(text).filter(|url| url.path() == "/")
}

fn realm(text: &str, https_only: bool) -> Option<Origin> {
    let url = http_url(text).filter(|url| url.path() == "/" && (url.scheme() == "https" || !https_only))?;
    Origin::of(&url)
}

/// One entry of `credentials`. Variables it names are noted in `named`, so that they are not taken for keys.
pub(super) fn credential(
    section: &Section<'_>,
    variables: &BTreeMap<String, String>,
    named: &mut BTreeSet<String>,
) -> Result<Credential, Error> {
    let allowed = "a user name";
    let given = section.get("username").ok_or_else(|| section.conflict("has no `username`"))?;
    let username = given.text(allowed)?;
    // RFC 7617 joins user and password by a colon.
    if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
        // Not shown: behind the colon there may be a password.
        return Err(given.conflict("must not be empty and may hold neither a colon nor a control character"));
    }
    let (password_source, password) = match (section.get("password_file"), section.get("password_env")) {
        (Some(file), None) => from_file(file)?,
        (None, Some(variable)) => from_variable(variable, variables, named)?,
        _ => return Err(section.conflict("needs exactly one of `password_file` and `password_env`")),
    };
    Ok(Credential { place: section.path.clone(), username: username.to_owned(), password_source, password })
}

fn from_file(given: &Given<'_>) -> Result<(SecretSource, Secret), Error> {
    let file = path(given, "the path of a file")?;
    let unusable = |problem| Error::SecretUnusable {
        place: given.place.clone(),
        key: given.key.clone(),
        source_name: format!("the file {}", file.display()),
        problem,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        .and_then(|opened| opened.take(SECRET_SIZE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::SecretUnreadable {
            place: given.place.clone(),
            key: given.key.clone(),
            file: file.clone(),
            source: Arc::new(source),
        })?;
    if bytes.len() as u64 > SECRET_SIZE_BYTES_MAX {
        return Err(unusable("is longer than 64 KiB: that is no password"));
    }
    // The source of the error would hold the bytes.
    let mut text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(unusable("is empty"));
    }
    Ok((SecretSource::File(file.clone()), Secret::new(text)))
}

fn from_variable(
    given: &Given<'_>,
    variables: &BTreeMap<String, String>,
    named: &mut BTreeSet<String>,
) -> Result<(SecretSource, Secret), Error> {
    // Never shown as it was written: who misunderstands the key writes the password there.
    let no_name = || given.conflict("must be the name of an environment variable, such as \"REGISTRY_PASSWORD\"");
    let name = given.text("").map_err(|_| no_name())?;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(no_name());
    }
    named.insert(name.to_owned());
    let is_usual = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let unusable = |problem| Error::SecretUnusable {
        place: given.place.clone(),
        key: given.key.clone(),
        source_name: if is_usual { format!("the variable {name}") } else { "a variable".to_owned() },
        problem,
    };
    match variables.get(name).map(String::as_str) {
        None => Err(unusable("is not set")),
        Some("") => Err(unusable("is empty")),
        Some(text) => Ok((SecretSource::Environment(name.to_owned()), Secret::new(text.to_owned()))),
    }
}
