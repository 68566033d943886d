use super::*;

/// An upstream of which only the URLs matter.
pub(crate) fn upstream(urls: &[&str]) -> config::Upstream {
    config::Upstream::at(urls.iter().map(|url| Url::parse(url).unwrap()).collect())
}

/// The rules for the first of `urls`.
pub(crate) fn rules(urls: &[&str]) -> Rules {
    rules_of(&upstream(urls))
}

fn rules_of(upstream: &config::Upstream) -> Rules {
    Rules::new(upstream, &upstream.urls[0])
}

#[test]
fn addresses_stand_for_what_they_are() {
    use AddressClass::*;
    for (address, expected) in [
        ("1.1.1.1", Public),
        ("104.18.0.1", Public),
        ("192.0.2.1", Public),
        ("100.63.255.255", Public),
        ("100.128.0.0", Public),
        ("172.15.255.255", Public),
        ("172.32.0.0", Public),
        ("169.253.255.255", Public),
        ("169.255.0.0", Public),
        ("2606:4700::1", Public),
        ("2001:db8::1", Public),
        ("::ffff:1.1.1.1", Public),
        ("64:ff9b::101:101", Public),
        ("10.0.0.1", Private),
        ("10.255.255.255", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.0.1", Private),
        ("100.64.0.1", Private),
        ("100.127.255.255", Private),
        ("198.18.0.1", Private),
        ("fc00::1", Private),
        ("fd12:3456::1", Private),
        ("fec0::1", Private),
        ("::ffff:10.0.0.1", Private),
        ("64:ff9b::a00:1", Private),
        ("64:ff9b:1::a00:1", Private),
        ("2002:a00:1::", Private),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("::ffff:0:127.0.0.1", Loopback),
        ("64:ff9b::7f00:1", Loopback),
        ("64:ff9b:1:2:3:4:7f00:1", Loopback),
        ("2002:7f00:1::1", Loopback),
        ("169.254.0.1", LinkLocal),
        ("169.254.255.255", LinkLocal),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("::ffff:169.254.0.1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("169.254.170.23", Metadata),
        ("100.100.100.200", Metadata),
        ("192.0.0.192", Metadata),
        ("168.63.129.16", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd00:ec2::23", Metadata),
        ("fd20:ce::254", Metadata),
        ("fd00:c1::a9fe:a9fe", Metadata),
        ("fd00:42::42", Metadata),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::a9fe:a9fe", Metadata),
        ("2002:a9fe:a9fe::", Metadata),
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("::ffff:0.0.0.0", Unspecified),
        ("64:ff9b::", Unspecified),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("255.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("::ffff:224.0.0.1", Multicast),
        ("240.0.0.1", Reserved),
    ] {
        assert_eq!(classify(address.parse().unwrap()), expected, "{address}");
    }
}

fn dials(rules: &Rules, url: &str) -> bool {
    rules.check_literal(&Url::parse(url).unwrap()).is_ok()
}

#[test]
fn literal_addresses_are_judged_before_anything_is_sent() {
    let public = rules(&["https://registry.example"]);
    let private = rules(&["https://10.0.0.5:5000"]);
    let loopback = rules(&["http://127.0.0.1:5000"]);
    for (url, from_public, from_private, from_loopback) in [
        ("https://1.1.1.1/", true, true, true),
        ("https://cdn.example/", true, true, true),
        ("https://10.0.0.5:5000/", false, true, true),
        ("https://10.9.9.9/", false, true, true),
        ("http://127.0.0.1:6000/", false, false, true),
        ("http://0x7f.1/", false, false, true),
        ("http://2130706433/", false, false, true),
        ("http://[::1]/", false, false, true),
        ("http://[::ffff:7f00:1]/", false, false, true),
        ("http://localhost/", false, false, true),
        ("http://LOCALHOST.:80/", false, false, true),
        ("http://a.localhost/", false, false, true),
        ("http://169.254.169.254/latest", false, false, false),
        ("http://[fd00:ec2::254]/", false, false, false),
        ("http://100.100.100.200/", false, false, false),
        ("http://0.0.0.0/", false, false, false),
        ("http://[::]/", false, false, false),
        ("http://224.0.0.1/", false, false, false),
        ("http://[fe80::1]/", false, false, false),
    ] {
        assert_eq!(dials(&public, url), from_public, "{url} from a public upstream");
        assert_eq!(dials(&private, url), from_private, "{url} from a private upstream");
        assert_eq!(dials(&loopback, url), from_loopback, "{url} from an upstream on this machine");
    }
}

#[test]
fn an_address_the_operator_wrote_down_is_meant() {
    assert!(dials(&rules(&["http://169.254.1.1:5000"]), "http://169.254.1.1:5000/"));
    assert!(!dials(&rules(&["http://169.254.1.1:5000"]), "http://169.254.169.254/"));
}

#[test]
fn names_are_judged_by_the_addresses_that_are_dialled() {
    let kept = |rules: &Rules, host: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        rules.filter(host, addresses).map_or(0, |kept| kept.len())
    };
    let rules = rules(&["https://registry.example"]);
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1", "1.1.1.1"]), 1);
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1"]), 0);
    assert_eq!(kept(&rules, "cdn.example", &["169.254.169.254", "127.0.0.1", "::"]), 0);
    // The own name may stand for any network, yet never for a metadata service.
    assert_eq!(kept(&rules, "registry.example", &["169.254.169.254", "fe80::1", "0.0.0.0", "ff02::1"]), 0);
    assert_eq!(kept(&rules, "Registry.Example.", &["10.0.0.1"]), 1);
    // What it may stand for proves nothing,
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1"]), 0);
    let url = |text: &str| Url::parse(text).unwrap();
    rules.connected(&url("https://cdn.example/"), "10.0.0.1".parse().unwrap());
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1"]), 0);
    // but what answered does: then its storage may be private too.
    rules.connected(&url("https://registry.example/v2/"), "10.0.0.1".parse().unwrap());
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1"]), 1);
    assert_eq!(kept(&rules, "cdn.example", &["127.0.0.1"]), 0);
    assert_eq!(kept(&rules, "cdn.example", &["64:ff9b:1::a00:1"]), 0);
    assert_eq!(kept(&rules, "registry.example", &["64:ff9b:1::a00:1"]), 1);
    rules.connected(&url("https://registry.example/v2/"), "1.1.1.1".parse().unwrap());
    assert_eq!(kept(&rules, "cdn.example", &["10.0.0.1"]), 0);
}

#[test]
fn trusted_realms_and_proxies_are_the_operators_choice() {
    let mut config = upstream(&["https://registry.example"]);
    config.trusted_realms = vec![config::Origin::of(&Url::parse("https://10.1.1.1:8443").unwrap()).unwrap()];
    config.proxy = Some(Url::parse("http://proxy.corp:3128").unwrap());
    let rules = rules_of(&config);
    assert!(dials(&rules, "https://10.1.1.1:8443/token"));
    assert!(!dials(&rules, "https://10.1.1.2/token"));
    assert!(rules.filter("proxy.corp", vec!["10.0.0.9".parse().unwrap()]).is_ok());
    // A trusted realm does not open its network to redirects.
    assert!(rules.filter("cdn.example", vec!["10.0.0.9".parse().unwrap()]).is_err());
}

#[test]
fn each_url_of_an_upstream_is_judged_by_itself() {
    let two = upstream(&["https://registry.example", "http://127.0.0.1:5000"]);
    let [first, second] = [0, 1].map(|index| Rules::new(&two, &two.urls[index]));
    assert!(!dials(&first, "http://127.0.0.1:6000/") && !dials(&first, "http://10.0.0.1/"));
    assert!(dials(&second, "http://127.0.0.1:6000/"));
}

#[test]
fn private_storage_of_a_public_registry_is_the_operators_word() {
    let mut config = upstream(&["https://registry.example"]);
    config.redirects_private_allowed = true;
    let rules = rules_of(&config);
    assert!(
        dials(&rules, "https://10.0.0.1/") && rules.filter("s3.example", vec!["10.0.0.1".parse().unwrap()]).is_ok()
    );
    for never in ["https://127.0.0.1/", "https://169.254.169.254/", "https://[64:ff9b:1::a00:1]/"] {
        assert!(!dials(&rules, never), "{never}");
    }
}

#[test]
fn what_a_proxy_resolves_is_judged_by_its_name_and_what_it_stands_for_here() {
    let public = rules(&["https://registry.example"]);
    let at_home = rules(&["https://registry.corp.internal"]);
    for (host, addresses, from_public, from_home) in [
        ("cdn.example", &[][..], true, true),
        ("cdn.example", &["1.1.1.1", "10.0.0.1"], true, true),
        ("cdn.example", &["169.254.169.254"], false, false),
        ("cdn.example", &["1.1.1.1", "127.0.0.1"], false, false),
        ("cdn.example", &["fd20:ce::254"], false, false),
        ("Metadata.Google.Internal.", &[], false, false),
        ("storage.corp.internal", &[], false, true),
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(public.check_proxied(host, &addresses).is_ok(), from_public, "{host} {addresses:?}");
        assert_eq!(at_home.check_proxied(host, &addresses).is_ok(), from_home, "{host} {addresses:?}");
    }
}
