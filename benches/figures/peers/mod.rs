//! The systems that are measured: how each is started on the loopback, on ports and in a directory of its own, and what
//! it cost. Each runs with its own defaults, except where its file here says otherwise and why.

mod distribution;
mod larder;
mod nginx;
mod process;
mod ready;

pub use process::{end_all, outlive_none};

use crate::{content::Content, origin::Origin};
use process::Process;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Who is measured; in the order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nobody between caller and origin.
    Direct,
    /// CNCF distribution as a pull-through cache (Debian's docker-registry).
    Distribution,
    /// nginx, `proxy_cache_lock on` and its defaults.
    NginxCache,
    /// The same, with a lock that outlasts every fill here.
    NginxCacheLocked,
    /// nginx that serves files: what a warm cache could be at best.
    NginxFiles,
    /// This program.
    Larder,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Distribution, Self::NginxCache, Self::NginxCacheLocked, Self::NginxFiles, Self::Larder];

    /// What `--system` calls it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Distribution => "distribution",
            Self::NginxCache => "nginx-cache",
            Self::NginxCacheLocked => "nginx-locked",
            Self::NginxFiles => "nginx-files",
            Self::Larder => "larder",
        }
    }

    /// The head of its column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "origin, directly",
            Self::Distribution => "distribution",
            Self::NginxCache => "nginx, cache",
            Self::NginxCacheLocked => "nginx, cache, lock 60 s",
            Self::NginxFiles => "nginx, files",
            Self::Larder => "larder",
        }
    }
}

/// How a peer can fail to be there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not installed")]
    Absent(&'static str),
    #[error("its directory could not be prepared: {0}")]
    Directory(#[source] std::io::Error),
    #[error("it could not be started: {0}")]
    Spawn(#[source] std::io::Error),
    #[error("not ready within {within:?}; it said: {log}")]
    NotReady { within: Duration, log: String },
    #[error("it ended with {status}; it said: {log}")]
    Ended { status: std::process::ExitStatus, log: String },
}

/// Programs to start and where.
pub struct Peers {
    larder: Option<PathBuf>,
    distribution: Option<PathBuf>,
    nginx: Option<PathBuf>,
    directory: PathBuf,
}

/// What a figure wants a server to be like.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Where it pulls from.
    pub origin: &'a Origin,
    /// What nginx finds as files; the others pull it.
    pub files: &'a [&'a Content],
    /// How long a tag need not be asked for again, where that can be set.
    pub tag_ttl: Duration,
}

/// A server that answers; it is ended and its directory removed when dropped.
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    kind: Kind,
    process: Option<Process>,
    _directory: Option<tempfile::TempDir>,
}

impl Peers {
    /// Looks for the programs; `directory` will hold what they store.
    pub fn find(larder: &Path, directory: &Path) -> Self {
        let directory = directory.to_owned();
        let larder = larder.is_file().then(|| larder.to_owned());
        Self { larder, distribution: find("docker-registry"), nginx: find("nginx"), directory }
    }

    /// Whether `kind` can be started at all.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Direct => true,
            Kind::Distribution => self.distribution.is_some(),
            Kind::NginxCache | Kind::NginxCacheLocked | Kind::NginxFiles => self.nginx.is_some(),
            Kind::Larder => self.larder.is_some(),
        }
    }

    /// What each program says its version is.
    pub fn versions(&self) -> Vec<(&'static str, String)> {
        [
            ("larder", &self.larder, "--version"),
            ("distribution", &self.distribution, "--version"),
            ("nginx", &self.nginx, "-v"),
        ]
        .into_iter()
        .filter_map(|(name, program, flag)| Some((name, version(program.as_deref()?, flag))))
        .collect()
    }

    /// Starts `kind` with nothing cached and waits until it answers.
    pub fn start(&self, kind: Kind, setting: Setting<'_>) -> Result<Server, Error> {
        let directory =
            tempfile::Builder::new().prefix("server-").tempdir_in(&self.directory).map_err(Error::Directory)?;
        let path = directory.path();
        let (address, process) = match kind {
            Kind::Direct => {
                return Ok(Server { address: setting.origin.address, kind, process: None, _directory: None });
            }
            Kind::Larder => larder::start(program(&self.larder, "larder")?, path, setting)?,
            Kind::Distribution => distribution::start(program(&self.distribution, "docker-registry")?, path, setting)?,
            Kind::NginxFiles => nginx::start_files(program(&self.nginx, "nginx")?, path, setting)?,
            Kind::NginxCache => {
                nginx::start_cache(program(&self.nginx, "nginx")?, path, setting, nginx::Lock::Defaults)?
            }
            Kind::NginxCacheLocked => {
                nginx::start_cache(program(&self.nginx, "nginx")?, path, setting, nginx::Lock::Long)?
            }
        };
        Ok(Server { address, kind, process: Some(process), _directory: Some(directory) })
    }
}

impl Server {
    /// What containerd adds for a mirror. nginx keys its cache by it, so only larder is told.
    pub fn query(&self) -> &'static str {
        if self.kind == Kind::Larder { "?ns=bench.test" } else { "" }
    }

    /// The most memory it had resident so far, in bytes, summed over its processes. `None` for the origin.
    pub fn resident_bytes_max(&self) -> Option<u64> {
        self.process.as_ref().map(Process::resident_bytes_max)
    }

    /// Processor seconds it used so far, all its processes and threads. `None` for the origin, which shares ours.
    pub fn processor_seconds(&self) -> Option<f64> {
        self.process.as_ref().map(Process::processor_seconds)
    }
}

fn program<'a>(found: &'a Option<PathBuf>, name: &'static str) -> Result<&'a Path, Error> {
    found.as_deref().ok_or(Error::Absent(name))
}

/// Debian keeps nginx where only root's PATH looks.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|place| place.join(name)).find(|file| file.is_file())
}

/// The first line it prints; nginx prints it to standard error.
fn version(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned()
}

/// A port nobody listens on. Somebody could take it before the server does; then that server fails to start.
fn free_address() -> Result<SocketAddr, Error> {
    std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).map_err(Error::Spawn)
}
