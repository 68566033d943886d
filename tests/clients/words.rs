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

#[test]
fn ctr_shows_why_a_tag_is_missing() {
    containerd_shows_it(Edition::Packaged, Way::Ctr);
}

#[test]
fn containerd_tells_kubelet_why_a_tag_is_missing() {
    containerd_shows_it(Edition::Packaged, Way::Cri);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn ctr_2_shows_why_a_tag_is_missing() {
    containerd_shows_it(Edition::Current, Way::Ctr);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn containerd_2_tells_kubelet_why_a_tag_is_missing() {
    containerd_shows_it(Edition::Current, Way::Cri);
}

#[test]
fn podman_skopeo_and_crane_show_why_a_tag_is_missing() {
    if !available(Access::Open, &[Podman::PROGRAMS, Skopeo::PROGRAMS, Crane::PROGRAMS].concat()) {
        return;
    }
    let _turn = turn();
    let bed = Bed::open();
    let host = bed.larder.host();
    shows_it(&bed, "podman", &Podman::new(&bed.home("podman"), &host, &[]));
    shows_it(&bed, "skopeo", &Skopeo::new(&bed.home("skopeo"), &host, &[]));
    shows_it(&bed, "crane", &Crane::new(&bed.home("crane"), &host));
}

/// dockerd goes on to Docker Hub after any failure of a mirror, and shows what that says. Only its log has the rest.
#[test]
fn docker_logs_why_a_tag_is_missing() {
    if !available(Access::Open, Docker::PROGRAMS) {
        return;
    }
    let _turn = turn();
    let bed = Bed::open();
    let node = Docker::start(&bed.home("docker"), &bed.larder.host());
    node.pull(MISSING).expect_failure();
    assert_told("dockerd", &node.log(), &sentence(&bed), &["docker.io", "croissant"]);
}

fn containerd_shows_it(edition: Edition, way: Way) {
    if !available(Access::Open, edition.programs()) {
        return;
    }
    let _turn = turn();
    let bed = Bed::open();
    let node = Containerd::start(&bed.home("containerd"), &bed.larder.host(), edition, way);
    shows_it(&bed, "containerd", &node);
}

fn shows_it(bed: &Bed, client: &str, node: &dyn Node) {
    let text = node.pull(MISSING).expect_failure();
    assert_told(client, &text, &sentence(bed), &["docker.io", "croissant"]);
}

fn sentence(bed: &Bed) -> String {
    bed.larder.sentence("/v2/docker.io/library/bread/manifests/croissant")
}

/// `text`, of a client, has the beginning of larder's sentence in it, which names all of `words`. Only the beginning,
/// since a status line is cut and an upstream's state may be told with figures that change.
#[track_caller]
pub fn assert_told(client: &str, text: &str, sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "no word of {word}: {sentence}");
    }
    // dockerd's log has quotes escaped.
    let (text, sentence) = (text.replace('\\', ""), sentence.replace('\\', ""));
    let beginning: String = sentence.chars().take(60).collect();
    assert!(text.contains(&beginning), "{client} does not show {sentence:?} but:\n{text}");
}
