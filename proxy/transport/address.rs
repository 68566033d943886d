//! Which addresses may be dialled.
//!
//! An upstream names hosts: in redirects, in realms, and by what its DNS answers. None of that may make larder talk to
//! the machine it runs on or to a cloud's metadata service. The rules are applied to the address that is dialled, so
//! that a name which changes its address between check and use gains nothing.

use crate::config;
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Mutex,
};
use url::{Host, Url};

/// What an address stands for. Addresses that carry another one inside are what the inner one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Reachable from anywhere.
    Public,
    /// Of a private network.
    Private,
    /// The machine itself.
    Loopback,
    /// The own link.
    LinkLocal,
    /// A cloud's metadata or control service.
    Metadata,
    /// No host at all: "this network".
    Unspecified,
    /// Many hosts at once.
    Multicast,
    /// Set aside and of no use to anybody.
    Reserved,
}

impl AddressClass {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }
}

/// What `address` stands for.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => classify_v4(inner),
            None => classify_v6(address),
        },
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // Alibaba Cloud, Oracle Cloud, Azure.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => AddressClass::Metadata,
        [169, 254, 169, 254 | 253] | [169, 254, 170, _] => AddressClass::Metadata,
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => {
            AddressClass::Private
        }
        [224..=239, ..] | [255, 255, 255, 255] => AddressClass::Multicast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xfd00, 0x0ec2, ..] => AddressClass::Metadata,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        _ => AddressClass::Public,
    }
}

/// The IPv4 address inside: mapped, compatible, NAT64 (RFC 6052, RFC 8215), 6to4, IPv4-translated (RFC 2765).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => join(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => join(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => join(high, low),
        [0x2002, high, low, ..] => join(high, low),
        _ => None,
    }
}

/// An address that larder does not dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} stands for a {} address, which is not dialled", class.as_str())]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) class: AddressClass,
}

/// The rules for one upstream.
#[derive(Debug)]
pub(super) struct Rules {
    /// Hosts of the configured URLs and of trusted realms: the operator named them.
    named: HashSet<String>,
    /// Hosts of the configured proxies: the operator named them, and they are where every dial goes.
    proxies: HashSet<String>,
    /// Hosts of the configured URLs alone.
    own: HashSet<String>,
    /// What the own hosts stood for when they were last resolved.
    own_classes: Mutex<HashMap<String, AddressClass>>,
}

impl Rules {
    pub(super) fn new(upstream: &config::Upstream) -> Self {
        let own: HashSet<String> = upstream.urls.iter().filter_map(host_of).collect();
        let realms = upstream.trusted_realms.iter().filter_map(|origin| Url::parse(&origin.to_string()).ok());
        let named = realms.filter_map(|url| host_of(&url)).chain(own.iter().cloned()).collect();
        let own_classes = upstream.urls.iter().filter_map(|url| Some((host_of(url)?, literal_class(url)?))).collect();
        let proxies = match &upstream.proxy {
            Some(proxy) => host_of(proxy).into_iter().collect(),
            None => proxies_of_environment(),
        };
        Self { named, proxies, own, own_classes: Mutex::new(own_classes) }
    }

    /// Checks a URL whose host is an address, or a name that always means this machine.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        let (Some(host), Some(class)) = (host_of(url), literal_class(url)) else { return Ok(()) };
        // An address the operator wrote down is meant.
        if self.named.contains(&host) || self.admits_elsewhere(class) { Ok(()) } else { Err(Refused { host, class }) }
    }

    /// Keeps of `addresses`, which `host` resolved to, those that may be dialled.
    pub(super) fn filter(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let host = normalise(host);
        if self.own.contains(&host)
            && let Some(first) = addresses.first()
        {
            self.classes().insert(host.clone(), classify(*first));
        }
        let named = self.named.contains(&host) || self.proxies.contains(&host);
        let admits = |class| if named { admits_named(class) } else { self.admits_elsewhere(class) };
        let refused = addresses.first().map(|address| Refused { host, class: classify(*address) });
        let kept: Vec<IpAddr> = addresses.into_iter().filter(|address| admits(classify(*address))).collect();
        match refused {
            Some(refused) if kept.is_empty() => Err(refused),
            _ => Ok(kept),
        }
    }

    /// What hosts may stand for that the operator did not name. A private upstream may send to its private storage,
    /// and one on this machine to another port of this machine.
    fn admits_elsewhere(&self, class: AddressClass) -> bool {
        let own = |wanted: &[AddressClass]| self.classes().values().any(|class| wanted.contains(class));
        match class {
            AddressClass::Public => true,
            AddressClass::Private => own(&[AddressClass::Private, AddressClass::Loopback]),
            AddressClass::Loopback => own(&[AddressClass::Loopback]),
            _ => false,
        }
    }

    fn classes(&self) -> std::sync::MutexGuard<'_, HashMap<String, AddressClass>> {
        self.own_classes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a name may stand for that the operator wrote down.
fn admits_named(class: AddressClass) -> bool {
    matches!(class, AddressClass::Public | AddressClass::Private | AddressClass::Loopback)
}

fn literal_class(url: &Url) -> Option<AddressClass> {
    match url.host()? {
        Host::Ipv4(address) => Some(classify(address.into())),
        Host::Ipv6(address) => Some(classify(address.into())),
        Host::Domain(name) => {
            let name = normalise(name);
            (name == "localhost" || name.ends_with(".localhost")).then_some(AddressClass::Loopback)
        }
    }
}

fn host_of(url: &Url) -> Option<String> {
    url.host_str().map(normalise)
}

/// One spelling of a host: `Registry.Example.` is `registry.example`.
fn normalise(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn proxies_of_environment() -> HashSet<String> {
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .filter_map(|text| Url::parse(&if text.contains("://") { text } else { format!("http://{text}") }).ok())
        .filter_map(|url| host_of(&url))
        .collect()
}

#[cfg(test)]
#[path = "address_tests.rs"]
pub(super) mod tests;
