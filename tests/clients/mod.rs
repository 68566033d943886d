//! Real clients pull real images through larder from real registries, none of them written here, all on loopback.
//!
//! What the programs are and how they come here: `tests/run`. A test whose programs are missing says so and passes,
//! except under `tests/run`. The clients with a daemon take turns: each is at home on a whole machine.

mod conformance;
mod containerd;
mod crane;
mod credentials;
mod docker;
mod image;
mod larder;
mod node;
mod outage;
mod podman;
mod poisoned;
mod program;
mod quickstart;
mod upstream;
mod words;

use image::Layout;
use larder::Larder;
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};
use upstream::{Access, Upstream};

/// An upstream that holds two images and a larder in front of it.
struct Bed {
    larder: Larder,
    upstream: Upstream,
    layout: Layout,
    // Last, so that it goes when nobody writes into it any more.
    folder: tempfile::TempDir,
}

impl Bed {
    /// An upstream open to all that larder knows as docker.io. It has `library/bread:1`, an index, and
    /// `library/toast:1`, an image for this machine only.
    fn open() -> Self {
        Self::new(Access::Open, "library", |upstream| {
            format!("[upstream.\"docker.io\"]\nurl = \"{}\"\n", upstream.url())
        })
    }

    /// An upstream with an account, larder's configuration for which is given. It has `alice/bread:1` and
    /// `alice/toast:1`.
    fn private(access: Access, configuration: impl FnOnce(&Upstream) -> String) -> Self {
        Self::new(access, upstream::USER, configuration)
    }

    fn new(access: Access, owner: &str, configuration: impl FnOnce(&Upstream) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("larder-").tempdir().unwrap();
        let layout = Layout::make(&folder.path().join("layout"));
        let upstream = Upstream::start(&folder.path().join("upstream"), access);
        upstream.push(&layout, "many", &format!("{owner}/bread"), "1");
        upstream.push(&layout, "one", &format!("{owner}/toast"), "1");
        let configuration = configuration(&upstream);
        let larder = Larder::start(&folder.path().join("larder"), &configuration);
        Self { larder, upstream, layout, folder }
    }

    /// A folder of its own for the client called `name`.
    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Waits for the turn of a client that has a daemon.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed in its turn leaves nothing behind that hurts the next one.
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether the programs of an upstream with this access and of the client are here.
fn available(access: Access, client: &[&str]) -> bool {
    program::available(&[Upstream::programs(access), client].concat())
}
