//! What the clients have in common.

use super::program::Outcome;

/// A client as a node has it: set up once to pull through larder and from nowhere else, with a store of its own.
pub trait Node {
    /// Pulls `image`, a whole name such as `docker.io/library/bread:1`.
    fn pull(&self, image: &str) -> Outcome;

    /// Forgets every image and its content.
    fn empty(&self);

    /// Runs an image that was pulled; `None` from a client that only pulls.
    fn run(&self, image: &str) -> Option<Outcome>;
}
