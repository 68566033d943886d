//! dockerd, which can mirror docker.io and nothing else.

use super::{
    node::Node,
    program::{Daemon, Outcome, command, run},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A dockerd with data, containerd and socket of its own.
pub struct Docker {
    directory: PathBuf,
    daemon: Daemon,
}

impl Docker {
    /// The programs it is made of.
    pub const PROGRAMS: &[&str] = &["dockerd", "docker", "containerd", "runc", "root"];

    /// Starts one whose mirror is the larder at `host`. Docker Hub stays its fallback: `registry-mirrors` knows no
    /// other way. It is confined, as all programs are here, and does not get there.
    pub fn start(directory: &Path, host: &str) -> Self {
        fs::create_dir_all(directory).unwrap();
        let settings = serde_json::json!({
            "registry-mirrors": [format!("http://{host}")], "insecure-registries": ["127.0.0.0/8"],
            "iptables": false, "ip6tables": false, "bridge": "none", "storage-driver": "vfs",
        });
        fs::write(directory.join("daemon.json"), settings.to_string()).unwrap();
        let mut dockerd = command("dockerd");
        for (option, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "docker.pid"),
        ] {
            dockerd.arg(option).arg(directory.join(name));
        }
        dockerd.arg("--host").arg(socket(directory));
        let mut daemon = Daemon::start(&mut dockerd, &directory.join("dockerd.log"));
        daemon.wait_until(|log| log.contains("API listen on"));
        Self { directory: directory.to_owned(), daemon }
    }

    /// What the daemon logged. It tells how a mirror failed only here.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    fn docker(&self) -> Command {
        let mut docker = command("docker");
        docker.env("DOCKER_CONFIG", self.directory.join("no-login")).arg("--host").arg(socket(&self.directory));
        docker
    }
}

impl Node for Docker {
    fn pull(&self, image: &str) -> Outcome {
        run(self.docker().arg("pull").arg(image))
    }

    fn empty(&self) {
        let images = run(self.docker().args(["images", "--all", "--quiet", "--no-trunc"])).expect_success();
        for image in images.lines() {
            run(self.docker().args(["rmi", "--force", image]));
        }
        let images = run(self.docker().args(["images", "--all", "--quiet"])).expect_success();
        assert_eq!(images, "", "docker's images are gone");
    }

    fn run(&self, image: &str) -> Option<Outcome> {
        Some(run(self.docker().args(["run", "--rm", "--network", "none", "--pull", "never", image])))
    }
}

fn socket(directory: &Path) -> String {
    format!("unix://{}", directory.join("docker.sock").display())
}
