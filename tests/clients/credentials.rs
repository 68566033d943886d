//! larder holds the account, nodes have none.

use super::{
    Bed, available,
    containerd::{Containerd, Edition, Way},
    crane::Crane,
    larder::get,
    node::Node,
    podman::{Podman, Skopeo},
    turn,
    upstream::{Access, PASSWORD, USER, Upstream},
};
use std::{fs, path::Path};

/// What the private upstream is called by nodes, in a top-level domain that is reserved for tests.
const REGISTRY: &str = "registry.test";

#[test]
fn nodes_without_a_login_pull_what_asks_for_a_password() {
    nodes_pull(Access::Basic);
}

#[test]
fn nodes_without_a_login_pull_what_asks_for_a_token() {
    nodes_pull(Access::Bearer);
}

#[test]
fn every_client_shows_that_the_password_is_wrong() {
    every_client_is_told(Access::Basic);
}

#[test]
fn every_client_shows_that_the_token_server_refused_the_password() {
    every_client_is_told(Access::Bearer);
}

fn nodes_pull(access: Access) {
    if !available(access, &clients()) {
        return;
    }
    let _turn = turn();
    let secrets = tempfile::tempdir().unwrap();
    let bed = Bed::private(access, |upstream| configuration(upstream, secrets.path(), PASSWORD));
    let port = bed.upstream.url().rsplit(':').next().unwrap().parse().unwrap();
    assert!(matches!(get(port, "/v2/"), Some((401, _))), "the upstream lets nobody in");
    for (name, node) in nodes(&bed) {
        for image in ["bread:1".to_owned(), format!("toast@{}", bed.layout.one)] {
            let outcome = node.pull(&format!("{REGISTRY}/{USER}/{image}"));
            assert!(!outcome.text.contains(PASSWORD), "{name} was told the password: {}", outcome.text);
            outcome.expect_success();
            node.empty();
        }
    }
    assert!(!bed.larder.log().contains(PASSWORD), "the password is in the log");
}

fn every_client_is_told(access: Access) {
    if !available(access, &clients()) {
        return;
    }
    let _turn = turn();
    let secrets = tempfile::tempdir().unwrap();
    let wrong = "wrong-but-still-secret";
    let bed = Bed::private(access, |upstream| configuration(upstream, secrets.path(), wrong));
    for (name, node) in nodes(&bed) {
        let text = node.pull(&format!("{REGISTRY}/{USER}/bread:1")).expect_failure();
        let sentence = bed.larder.sentence(&format!("/v2/{REGISTRY}/{USER}/bread/manifests/1"));
        super::words::assert_told(name, &text, &sentence, &[REGISTRY, "refused larder's credential"]);
        assert!(!text.contains(wrong), "{name} was told the password: {text}");
    }
    assert!(!bed.larder.log().contains(wrong), "the password is in the log");
}

fn clients() -> Vec<&'static str> {
    [Edition::Packaged.programs(), Podman::PROGRAMS, Skopeo::PROGRAMS, Crane::PROGRAMS].concat()
}

fn nodes(bed: &Bed) -> Vec<(&'static str, Box<dyn Node>)> {
    let host = bed.larder.host();
    vec![
        ("cri", Box::new(Containerd::start(&bed.home("containerd"), &host, Edition::Packaged, Way::Cri))),
        ("podman", Box::new(Podman::new(&bed.home("podman"), &host, &[REGISTRY]))),
        ("skopeo", Box::new(Skopeo::new(&bed.home("skopeo"), &host, &[REGISTRY]))),
        ("crane", Box::new(Crane::new(&bed.home("crane"), &host))),
    ]
}

fn configuration(upstream: &Upstream, secrets: &Path, password: &str) -> String {
    let file = secrets.join("password");
    fs::write(&file, password).unwrap();
    format!(
        "[upstream.\"{REGISTRY}\"]\nurl = \"{}\"\ntrusted_realms = [\"{}\"]\n\
         [[upstream.\"{REGISTRY}\".credentials]]\nusername = \"{USER}\"\npassword_file = \"{}\"\n",
        upstream.url(),
        upstream.realm(),
        file.display()
    )
}
