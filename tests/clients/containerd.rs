//! containerd on its own, by its command line and by the interface kubelet uses.

use super::{
    node::Node,
    program::{Daemon, Outcome, command, run, wait_until},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// Which containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// The distribution's: 1.6 on Debian 12, 1.7 on Ubuntu 24.04.
    Packaged,
    /// The one that `tests/run clients` builds.
    Current,
}

/// How it is told to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `ctr images pull --hosts-dir`
    Ctr,
    /// As kubelet does.
    Cri,
}

/// A containerd with root, state and socket of its own.
pub struct Containerd {
    directory: PathBuf,
    edition: Edition,
    way: Way,
    _daemon: Daemon,
    containers: AtomicU32,
}

impl Edition {
    /// The programs it is made of.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Packaged => &["containerd", "ctr", "runc", "cri", "root"],
            Self::Current => &["containerd2/containerd", "containerd2/ctr", "runc", "cri", "root"],
        }
    }

    fn command(self, program: &str) -> Command {
        match self {
            Self::Packaged => command(program),
            Self::Current => command(&format!("containerd2/{program}")),
        }
    }

    /// The settings, each in the version of the format that this edition writes itself.
    fn settings(self, directory: &Path) -> String {
        let home = directory.display();
        let common = format!(
            "root = '{home}/root'\nstate = '{home}/state'\nimports = []\n\
             [grpc]\naddress = '{home}/containerd.sock'\n[ttrpc]\naddress = '{home}/containerd.sock.ttrpc'\n\
             [plugins.'io.containerd.internal.v1.opt']\npath = '{home}/opt'\n"
        );
        match self {
            Self::Packaged => format!(
                "version = 2\n{common}\
                 [plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '{home}/cni'\nconf_dir = '{home}/cni'\n\
                 [plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '{home}/hosts'\n"
            ),
            Self::Current => format!(
                "version = 3\n{common}\
                 [plugins.'io.containerd.nri.v1.nri']\ndisable = true\n\
                 [plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['{home}/cni']\nconf_dir = '{home}/cni'\n\
                 [plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '{home}/hosts'\n"
            ),
        }
    }
}

impl Containerd {
    /// Starts one that pulls everything through the larder at `host`, and knows no other place to pull from.
    pub fn start(directory: &Path, host: &str, edition: Edition, way: Way) -> Self {
        fs::create_dir_all(directory.join("hosts/_default")).unwrap();
        fs::create_dir_all(directory.join("cni")).unwrap();
        // containerd before 1.7.32 ignores a file without a [host] table.
        let hosts = format!("server = \"http://{host}\"\n[host]\n");
        fs::write(directory.join("hosts/_default/hosts.toml"), hosts).unwrap();
        fs::write(directory.join("containerd.toml"), edition.settings(directory)).unwrap();
        let mut containerd = edition.command("containerd");
        // It looks for its shim in PATH first: there is another edition's.
        let beside = Path::new(containerd.get_program()).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(beside).chain(std::env::split_paths(&path));
        containerd.env("PATH", std::env::join_paths(path).unwrap());
        containerd.arg("--config").arg(directory.join("containerd.toml"));
        let mut daemon = Daemon::start(&mut containerd, &directory.join("containerd.log"));
        daemon.wait_until(|log| log.contains("containerd successfully booted"));
        Self { directory: directory.to_owned(), edition, way, _daemon: daemon, containers: AtomicU32::new(0) }
    }

    /// Waits until what failed pulls left half-written is gone. containerd collects it a moment after the failure;
    /// a pull within that moment resumes from it, whatever it is. kubelet waits ten seconds.
    pub fn wait_until_tidy(&self) {
        wait_until("containerd has collected half-written content", || {
            // A heading is always there.
            (self.lines(&["content", "active"]).len() <= 1).then_some(())
        });
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    /// The CRI plugin is at home in one, and busy with whatever is in it.
    fn namespace(&self) -> &'static str {
        match self.way {
            Way::Ctr => "default",
            Way::Cri => "k8s.io",
        }
    }

    fn ctr(&self) -> Command {
        let mut ctr = self.edition.command("ctr");
        ctr.arg("--address").arg(self.socket()).args(["--namespace", self.namespace()]);
        ctr
    }

    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        run(self.ctr().args(arguments)).expect_success().lines().map(str::to_owned).collect()
    }
}

impl Node for Containerd {
    fn pull(&self, image: &str) -> Outcome {
        match self.way {
            Way::Ctr => {
                let mut ctr = self.ctr();
                ctr.args(["images", "pull", "--hosts-dir"]).arg(self.directory.join("hosts")).arg(image);
                run(&mut ctr)
            }
            Way::Cri => run(command("cri").arg(self.socket()).args(["pull", image])),
        }
    }

    fn empty(&self) {
        wait_until("containerd's images and their content are gone", || {
            // The CRI plugin gives each image further names, a moment after it came.
            for image in self.lines(&["images", "list", "--quiet"]) {
                run(self.ctr().args(["images", "remove", "--sync", &image]));
            }
            self.lines(&["content", "list", "--quiet"]).is_empty().then_some(())
        });
    }

    fn run(&self, image: &str) -> Option<Outcome> {
        let name = format!("breakfast-{}", self.containers.fetch_add(1, Ordering::Relaxed));
        // ctr may end before it has copied all that the container printed; the shim does not end before it has.
        let log = self.directory.join(&name).with_extension("log");
        let mut ctr = self.ctr();
        ctr.args(["run", "--rm", "--log-uri", &format!("file://{}", log.display()), image, &name]);
        let mut outcome = run(&mut ctr);
        outcome.output = fs::read_to_string(log).unwrap_or_default();
        Some(outcome)
    }
}
