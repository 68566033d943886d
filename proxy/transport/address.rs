//! Which addresses may be dialled.
//!
//! An upstream names hosts: in redirects, in realms, and by what its DNS answers. None of that may make larder talk to
//! the machine it runs on or to a cloud's metadata service. The rules are applied to the address that is dialled, so
//! that a name which changes its address between check and use gains nothing.

use crate::config;
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};
use url::{Host, Url};

/// Google Cloud's metadata service.
const METADATA_NAME: &str = "metadata.google.internal";

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
        // Amazon, Google, Oracle, Scaleway.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => AddressClass::Metadata,
        [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe] | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42] => AddressClass::Metadata,
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

/// Of the prefix for translation within a network (RFC 8215). Where in it the IPv4 address stands is that network's
/// choice, so that nobody else can tell what it stands for.
fn is_translated_locally(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if matches!(address.segments(), [0x64, 0xff9b, 1, ..]))
}

/// An address that larder does not dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} stands for a {} address, which is not dialled", class.as_str())]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) class: AddressClass,
}

/// The rules for what is asked at one URL of an upstream.
#[derive(Debug)]
pub(super) struct Rules {
    /// The host of that URL and those of trusted realms: the operator named them.
    named: HashSet<String>,
    /// Hosts of the configured proxies: the operator named them, and they are where every dial goes.
    proxies: HashSet<String>,
    /// The host of the URL that is asked.
    own: Option<String>,
    /// What its connections led to lately.
    own_class: Mutex<Option<AddressClass>>,
    /// Whether its storage may be private whatever it is itself.
    private_allowed: bool,
}

impl Rules {
    /// The rules for what is asked at `url`, one of the URLs of `upstream`.
    pub(super) fn new(upstream: &config::Upstream, url: &Url) -> Self {
        let realms = upstream.trusted_realms.iter().filter_map(|origin| Url::parse(&origin.to_string()).ok());
        let named = realms.filter_map(|url| host_of(&url)).chain(host_of(url)).collect();
        let proxies = match &upstream.proxy {
            Some(proxy) => host_of(proxy).into_iter().collect(),
            None => proxies_of_environment(),
        };
        Self {
            named,
            proxies,
            own: host_of(url),
            own_class: Mutex::new(literal_address(url).map(classify)),
            private_allowed: upstream.redirects_private_allowed,
        }
    }

    /// Checks a URL whose host is an address, or a name that always means this machine.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        let (Some(host), Some(address)) = (host_of(url), literal_address(url)) else { return Ok(()) };
        // An address the operator wrote down is meant.
        if self.named.contains(&host) || self.admits_elsewhere(address) {
            Ok(())
        } else {
            Err(Refused { host, class: classify(address) })
        }
    }

    /// Whether the operator wrote this host down.
    pub(super) fn is_named(&self, host: &str) -> bool {
        self.named.contains(&normalise(host))
    }

    /// A connection for `url` led to `peer`. Only what answered counts: what a name may also stand for proves nothing.
    pub(super) fn connected(&self, url: &Url, peer: IpAddr) {
        if host_of(url) == self.own {
            *self.own_class.lock().unwrap_or_else(PoisonError::into_inner) = Some(classify(peer));
        }
    }

    /// Keeps of `addresses`, which `host` resolved to, those that may be dialled.
    pub(super) fn filter(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let host = normalise(host);
        let named = self.named.contains(&host) || self.proxies.contains(&host);
        let admits = |address| if named { admits_named(classify(address)) } else { self.admits_elsewhere(address) };
        let refused = addresses.first().map(|address| Refused { host, class: classify(*address) });
        let kept: Vec<IpAddr> = addresses.into_iter().filter(|address| admits(*address)).collect();
        match refused {
            Some(refused) if kept.is_empty() => Err(refused),
            _ => Ok(kept),
        }
    }

    /// Checks a host that a proxy will resolve, by its name and by the `addresses` it has here, if any. Whether it is
    /// private cannot be held against it: behind a proxy the upstream's own address is not known either.
    pub(super) fn check_proxied(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        let host = normalise(host);
        // Clouds name their metadata services in this domain, which companies use too.
        let internal = |host: &str| host.ends_with(".internal");
        let at_home = self.private_allowed || self.own.as_deref().is_some_and(internal);
        if host == METADATA_NAME || (internal(&host) && !at_home) {
            return Err(Refused { host, class: AddressClass::Metadata });
        }
        let open = |address: &&IpAddr| {
            matches!(classify(**address), AddressClass::Public | AddressClass::Private)
                && !is_translated_locally(**address)
        };
        match addresses.iter().find(|address| !open(address)) {
            Some(address) => Err(Refused { host, class: classify(*address) }),
            None => Ok(()),
        }
    }

    /// What hosts may stand for that the operator did not name. A private upstream may send to its private storage,
    /// and one on this machine to another port of this machine.
    fn admits_elsewhere(&self, address: IpAddr) -> bool {
        let own = *self.own_class.lock().unwrap_or_else(PoisonError::into_inner);
        let at_home = matches!(own, Some(AddressClass::Private | AddressClass::Loopback));
        match classify(address) {
            _ if is_translated_locally(address) => false,
            AddressClass::Public => true,
            AddressClass::Private => self.private_allowed || at_home,
            AddressClass::Loopback => own == Some(AddressClass::Loopback),
            _ => false,
        }
    }
}

/// What a name may stand for that the operator wrote down.
fn admits_named(class: AddressClass) -> bool {
    matches!(class, AddressClass::Public | AddressClass::Private | AddressClass::Loopback)
}

/// The address that is the host of `url`, or that its name always stands for.
fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(name) => {
            let name = normalise(name);
            (name == "localhost" || name.ends_with(".localhost")).then_some(Ipv4Addr::LOCALHOST.into())
        }
    }
}

/// Whether `url` always means this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    literal_address(url).is_some_and(|address| classify(address) == AddressClass::Loopback)
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
