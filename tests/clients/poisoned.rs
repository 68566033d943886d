//! An upstream that served the wrong bytes for a while leaves nothing behind: not in larder, not in the node.

use super::{
    Bed, available,
    containerd::{Containerd, Edition, Way},
    image::LINE,
    node::Node,
    turn,
    upstream::Access,
};

const IMAGE: &str = "docker.io/library/toast:1";

#[test]
fn the_pull_after_a_wrong_layer_succeeds() {
    pulls_after_a_wrong_layer(Edition::Packaged);
}

#[test]
#[ignore = "containerd 2 takes long to build: tests/run clients"]
fn the_pull_of_containerd_2_after_a_wrong_layer_succeeds() {
    pulls_after_a_wrong_layer(Edition::Current);
}

fn pulls_after_a_wrong_layer(edition: Edition) {
    if !available(Access::Open, edition.programs()) {
        return;
    }
    let _turn = turn();
    let bed = Bed::open();
    let node = Containerd::start(&bed.home("containerd"), &bed.larder.host(), edition, Way::Cri);
    let layer = bed.layout.layers[0];
    bed.upstream.flip_byte(&layer);
    node.pull(IMAGE).expect_failure();
    bed.upstream.flip_byte(&layer);
    node.wait_until_tidy();
    node.pull(IMAGE).expect_success();
    let text = node.run(IMAGE).expect("containerd runs what it pulls").expect_success();
    assert!(text.contains(LINE), "it printed {text:?}");
}
