//! The pull part of the OCI distribution specification 1.1, one test for each MUST, named by its section.

mod errors;
mod pull;
mod query;

use crate::rig::{FaultyUpstream, Image, Larder, Setup};

/// A larder in front of one image `lib/img:v1`.
async fn started() -> (FaultyUpstream, Image, Setup, Larder) {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[100_000, 10]);
    upstream.push("lib/img", "v1", &image);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    (upstream, image, setup, larder)
}
