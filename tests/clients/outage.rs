//! What was pulled once can be pulled again: with the upstream gone, and with larder's index lost as well.

use super::{
    Bed, available,
    containerd::{Containerd, Edition, Way},
    crane::Crane,
    docker::Docker,
    image::LINE,
    node::Node,
    podman::{Podman, Skopeo},
    turn,
    upstream::Access,
};

#[test]
fn ctr_pulls_again_without_upstream_and_without_the_index() {
    containerd_pulls_again(Edition::Packaged, Way::Ctr);
}

#[test]
fn containerd_as_kubelet_drives_it_pulls_again_without_upstream_and_without_the_index() {
    containerd_pulls_again(Edition::Packaged, Way::Cri);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn ctr_2_pulls_again_without_upstream_and_without_the_index() {
    containerd_pulls_again(Edition::Current, Way::Ctr);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn containerd_2_as_kubelet_drives_it_pulls_again_without_upstream_and_without_the_index() {
    containerd_pulls_again(Edition::Current, Way::Cri);
}

#[test]
fn podman_pulls_again_without_upstream_and_without_the_index() {
    if !available(Access::Open, Podman::PROGRAMS) {
        return;
    }
    let _turn = turn();
    let mut bed = Bed::open();
    let node = Podman::new(&bed.home("podman"), &bed.larder.host(), &[]);
    pulls_again(&mut bed, &node);
}

#[test]
fn docker_pulls_again_without_upstream_and_without_the_index() {
    if !available(Access::Open, Docker::PROGRAMS) {
        return;
    }
    let _turn = turn();
    let mut bed = Bed::open();
    let node = Docker::start(&bed.home("docker"), &bed.larder.host());
    pulls_again(&mut bed, &node);
}

#[test]
fn skopeo_pulls_again_without_upstream_and_without_the_index() {
    if !available(Access::Open, Skopeo::PROGRAMS) {
        return;
    }
    let mut bed = Bed::open();
    let node = Skopeo::new(&bed.home("skopeo"), &bed.larder.host(), &[]);
    // It also lists the repository's tags, so larder keeps those as well.
    let inspect = |bed: &Bed| {
        let answer = node.inspect(&format!("{}/docker.io/library/bread:1", bed.larder.host())).expect_success();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["RepoTags"], serde_json::json!(["1"]));
        assert_eq!(answer["Digest"], bed.layout.many.to_string());
    };
    inspect(&bed);
    pulls_again(&mut bed, &node);
    inspect(&bed);
}

#[test]
fn crane_pulls_again_without_upstream_and_without_the_index() {
    if !available(Access::Open, Crane::PROGRAMS) {
        return;
    }
    let mut bed = Bed::open();
    let node = Crane::new(&bed.home("crane"), &bed.larder.host());
    pulls_again(&mut bed, &node);
}

fn containerd_pulls_again(edition: Edition, way: Way) {
    if !available(Access::Open, edition.programs()) {
        return;
    }
    let _turn = turn();
    let mut bed = Bed::open();
    let node = Containerd::start(&bed.home("containerd"), &bed.larder.host(), edition, way);
    pulls_again(&mut bed, &node);
}

/// The whole of it, for a node that was just set up.
fn pulls_again(bed: &mut Bed, node: &dyn Node) {
    pulls_everything(bed, node);
    bed.upstream.stop();
    node.empty();
    pulls_everything(bed, node);
    bed.larder.kill();
    bed.larder.lose_index();
    bed.larder.resume();
    node.empty();
    pulls_everything(bed, node);
}

/// An index and a single image, each by its tag and, from an empty store, by its digest.
fn pulls_everything(bed: &Bed, node: &dyn Node) {
    for (name, digest) in [("bread", bed.layout.many), ("toast", bed.layout.one)] {
        for image in [format!("docker.io/library/{name}:1"), format!("docker.io/library/{name}@{digest}")] {
            node.pull(&image).expect_success();
            if let Some(outcome) = node.run(&image) {
                let text = outcome.expect_success();
                assert!(text.contains(LINE), "{image} printed {text:?}");
            }
            node.empty();
        }
    }
}
