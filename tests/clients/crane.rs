//! crane, which knows no mirrors: larder is named in the image.

use super::{
    node::Node,
    program::{Outcome, command, run},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// crane, which pulls into a folder.
pub struct Crane {
    directory: PathBuf,
    host: String,
}

impl Crane {
    /// The programs it is made of.
    pub const PROGRAMS: &[&str] = &["crane"];

    /// Sets one up for the larder at `host`.
    pub fn new(directory: &Path, host: &str) -> Self {
        fs::create_dir_all(directory).unwrap();
        Self { directory: directory.to_owned(), host: host.to_owned() }
    }
}

impl Node for Crane {
    fn pull(&self, image: &str) -> Outcome {
        let mut crane = command("crane");
        crane.env("DOCKER_CONFIG", self.directory.join("no-login"));
        crane.args(["pull", "--format", "oci", &format!("{}/{image}", self.host)]);
        run(crane.arg(self.directory.join("images")))
    }

    fn empty(&self) {
        let _ = fs::remove_dir_all(self.directory.join("images"));
    }

    fn run(&self, _image: &str) -> Option<Outcome> {
        None
    }
}
