//! When a pull cannot succeed, the client itself shows larder's sentence.

use super::{
    Bed, available,
    containerd::{Containerd, Edition, Way},
    crane::Crane,
    docker::Docker,
    node::Node,
    podman::{Podman, Skopeo},
    turn,
    upstream::Access,
};

/// A tag that was never pushed.
const MISSING: &str = "docker.io/library/bread:croissant";
/// One that was, and that nobody has pulled yet.
const UNREACHABLE: &str = "docker.io/library/bread:1";

#[test]
fn ctr_shows_why_a_pull_failed() {
    containerd_shows_it(Edition::Packaged, Way::Ctr);
}

#[test]
fn containerd_tells_kubelet_why_a_pull_failed() {
    containerd_shows_it(Edition::Packaged, Way::Cri);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn ctr_2_shows_why_a_pull_failed() {
    containerd_shows_it(Edition::Current, Way::Ctr);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn containerd_2_tells_kubelet_why_a_pull_failed() {
    containerd_shows_it(Edition::Current, Way::Cri);
}

#[test]
fn podman_skopeo_and_crane_show_why_a_pull_failed() {
    if !available(Access::Open, &[Podman::PROGRAMS, Skopeo::PROGRAMS, Crane::PROGRAMS].concat()) {
        return;
    }
    let _turn = turn();
    let mut bed = Bed::open();
    let host = bed.larder.host();
    let podman = Podman::new(&bed.home("podman"), &host, &[]);
    let skopeo = Skopeo::new(&bed.home("skopeo"), &host, &[]);
    let crane = Crane::new(&bed.home("crane"), &host);
    show_it(&mut bed, &[("podman", &podman), ("skopeo", &skopeo), ("crane", &crane)]);
}

/// dockerd goes on to Docker Hub after any failure of a mirror, and shows what that says. Only its log has the rest;
/// not so where larder is named in the image.
#[test]
fn docker_logs_why_a_tag_is_missing_and_shows_it_where_larder_is_named() {
    if !available(Access::Open, Docker::PROGRAMS) {
        return;
    }
    let _turn = turn();
    let bed = Bed::open();
    let node = Docker::start(&bed.home("docker"), &bed.larder.host());
    node.pull(MISSING).expect_failure();
    let sentence = bed.larder.sentence("/v2/docker.io/library/bread/manifests/croissant");
    let log = node.log();
    let line = log.lines().find(|line| line.contains("Attempting next endpoint")).unwrap_or(&log);
    assert_told("dockerd", line, &sentence, &["docker.io", "croissant"]);
    let text = node.pull_from_larder(MISSING).expect_failure();
    assert_told("docker", &text, &sentence, &["docker.io", "croissant"]);
}

fn containerd_shows_it(edition: Edition, way: Way) {
    if !available(Access::Open, edition.programs()) {
        return;
    }
    let _turn = turn();
    let mut bed = Bed::open();
    let node = Containerd::start(&bed.home("containerd"), &bed.larder.host(), edition, way);
    show_it(&mut bed, &[("containerd", &node)]);
}

/// Each of the clients, when the tag is missing and when the upstream is gone.
fn show_it(bed: &mut Bed, clients: &[(&str, &dyn Node)]) {
    for (client, node) in clients {
        let text = node.pull(MISSING).expect_failure();
        let sentence = bed.larder.sentence("/v2/docker.io/library/bread/manifests/croissant");
        assert_told(client, &text, &sentence, &["docker.io", "croissant"]);
    }
    bed.upstream.stop();
    for (client, node) in clients {
        let text = node.pull(UNREACHABLE).expect_failure();
        let sentence = bed.larder.sentence("/v2/docker.io/library/bread/manifests/1");
        assert_told(client, &text, &sentence, &["docker.io", "connection refused"]);
    }
}

/// `text`, of a client, has the beginning of larder's sentence in it, which names all of `words`. Only the beginning,
/// since a status line is cut and an upstream's state may be told with figures that change.
#[track_caller]
pub fn assert_told(client: &str, text: &str, sentence: &str, words: &[&str]) {
    println!("{client}: {text}"); // for whoever wants to read it: -- --nocapture words
    for word in words {
        assert!(sentence.contains(word), "no word of {word}: {sentence}");
    }
    // dockerd's log has quotes escaped.
    let (text, sentence) = (text.replace('\\', ""), sentence.replace('\\', ""));
    let beginning: String = sentence.chars().take(60).collect();
    assert!(text.contains(&beginning), "{client} does not show {sentence:?} but:\n{text}");
}
