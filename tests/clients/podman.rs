//! The clients of containers/image: podman, and skopeo, which has no store but a folder.

use super::{
    node::Node,
    program::{Outcome, command, run},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// podman with storage of its own.
pub struct Podman {
    directory: PathBuf,
}

/// skopeo, which copies into a folder.
pub struct Skopeo {
    directory: PathBuf,
}

impl Podman {
    /// The programs it is made of.
    pub const PROGRAMS: &[&str] = &["podman", "runc", "root"];

    /// Sets one up that pulls docker.io and `others` through the larder at `host`.
    pub fn new(directory: &Path, host: &str, others: &[&str]) -> Self {
        settle(directory, host, others);
        Self { directory: directory.to_owned() }
    }

    fn podman(&self) -> Command {
        let mut podman = environment(command("podman"), &self.directory);
        for (option, folder) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            podman.arg(option).arg(self.directory.join(folder));
        }
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        podman.args(["--runtime", "runc"]);
        podman
    }
}

impl Node for Podman {
    fn pull(&self, image: &str) -> Outcome {
        run(self.podman().arg("pull").arg(image))
    }

    fn empty(&self) {
        run(self.podman().args(["rmi", "--all", "--force"])).expect_success();
    }

    fn run(&self, image: &str) -> Option<Outcome> {
        // Its defaults for limits are above what a container may have where the tests themselves are confined.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        Some(run(self.podman().args(["run", "--rm", "--network", "none", "--pull", "never"]).args(limits).arg(image)))
    }
}

impl Skopeo {
    /// The programs it is made of.
    pub const PROGRAMS: &[&str] = &["skopeo"];

    /// Sets one up that pulls docker.io and `others` through the larder at `host`.
    pub fn new(directory: &Path, host: &str, others: &[&str]) -> Self {
        settle(directory, host, others);
        Self { directory: directory.to_owned() }
    }

    fn skopeo(&self) -> Command {
        let mut skopeo = environment(command("skopeo"), &self.directory);
        // It does not read the variable that podman reads.
        skopeo.arg("--registries-conf").arg(self.directory.join("registries.conf"));
        skopeo
    }

    /// What it says about an image without pulling it: JSON, its digest and tags among it. The name has to be one of
    /// larder itself: for the tags skopeo asks no mirror.
    pub fn inspect(&self, image: &str) -> Outcome {
        run(self.skopeo().args(["inspect", "--tls-verify=false"]).arg(format!("docker://{image}")))
    }
}

impl Node for Skopeo {
    fn pull(&self, image: &str) -> Outcome {
        let mut skopeo = self.skopeo();
        skopeo.args(["--insecure-policy", "copy", "--all"]).arg(format!("docker://{image}"));
        run(skopeo.arg(format!("dir:{}", self.directory.join("images").display())))
    }

    fn empty(&self) {
        let _ = fs::remove_dir_all(self.directory.join("images"));
    }

    fn run(&self, _image: &str) -> Option<Outcome> {
        None
    }
}

/// Writes the settings that containers/image reads: where to pull from, and no fallback beside it.
fn settle(directory: &Path, host: &str, others: &[&str]) {
    fs::create_dir_all(directory).unwrap();
    let registries: String = std::iter::once(&"docker.io")
        .chain(others)
        .map(|name| format!("[[registry]]\nprefix = \"{name}\"\nlocation = \"{host}/{name}\"\ninsecure = true\n"))
        .collect();
    fs::write(directory.join("registries.conf"), format!("unqualified-search-registries = []\n{registries}")).unwrap();
    fs::write(directory.join("no-login.json"), "{}").unwrap();
}

fn environment(mut command: Command, directory: &Path) -> Command {
    command.env("CONTAINERS_REGISTRIES_CONF", directory.join("registries.conf"));
    command.env("REGISTRY_AUTH_FILE", directory.join("no-login.json"));
    command.env("HOME", directory).env("XDG_RUNTIME_DIR", directory);
    command
}
