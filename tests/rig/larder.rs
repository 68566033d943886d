//! A larder of one's own: the built program, its configuration and directory, and what it printed.

use super::{FaultyUpstream, PATIENCE, get, until};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};
use tempfile::TempDir;

/// A configuration and the directory it works on; outlives the processes that run on it.
pub struct Setup {
    home: TempDir,
    server: Vec<String>,
    cache: Vec<String>,
    tables: Vec<String>,
    environment: Vec<(String, String)>,
    launcher: Vec<String>,
}

impl Setup {
    /// Ports 0, a directory of its own and no upstream but the shipped ones.
    pub fn new() -> Self {
        Self {
            home: TempDir::with_prefix("larder-test-").unwrap(),
            server: Vec::new(),
            cache: Vec::new(),
            tables: Vec::new(),
            environment: Vec::new(),
            launcher: Vec::new(),
        }
    }

    /// An upstream `reg.test` that is the default.
    pub fn with(upstream: &FaultyUpstream) -> Self {
        Self::new().server("default_registry = \"reg.test\"").upstream("reg.test", upstream, "")
    }

    /// A line of `[server]`.
    pub fn server(mut self, line: &str) -> Self {
        self.server.push(line.to_owned());
        self
    }

    /// A line of `[cache]`.
    pub fn cache(mut self, line: &str) -> Self {
        self.cache.push(line.to_owned());
        self
    }

    /// An upstream, with further lines for its table.
    pub fn upstream(self, name: &str, upstream: &FaultyUpstream, lines: &str) -> Self {
        let url = upstream.url();
        self.table(&format!("[upstream.\"{name}\"]\nurl = \"{url}\"\n{lines}"))
    }

    /// An upstream with a credential, whose password is in a file.
    pub fn upstream_with_credential(
        self,
        name: &str,
        upstream: &FaultyUpstream,
        username: &str,
        password: &str,
    ) -> Self {
        let file = self.home.path().join(format!("password-{}", self.tables.len()));
        std::fs::write(&file, format!("{password}\n")).unwrap();
        set_mode(&file, 0o600);
        let credential = format!(
            "[[upstream.\"{name}\".credentials]]\nusername = \"{username}\"\npassword_file = \"{}\"\n",
            file.display()
        );
        self.upstream(name, upstream, "").table(&credential)
    }

    /// A further table.
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.to_owned());
        self
    }

    /// An environment variable of the process.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What larder is started by: a program and its arguments, to which larder's own are added. It has to become larder
    /// (`exec`), since larder is known by its process.
    pub fn launcher(mut self, program: &[&str]) -> Self {
        self.launcher = program.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Where larder keeps everything.
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes the configuration file and says where.
    pub fn config_file(&self) -> PathBuf {
        let path = self.home.path().join("larder.toml");
        let has = |lines: &[String], key: &str| lines.iter().any(|line| line.starts_with(key));
        let mut text = String::from("[server]\n");
        for key in ["listen", "admin"] {
            if !has(&self.server, key) {
                text.push_str(&format!("{key} = \"127.0.0.1:0\"\n"));
            }
        }
        text.push_str(&self.server.join("\n"));
        text.push_str("\n\n[cache]\n");
        if !has(&self.cache, "directory") {
            text.push_str(&format!("directory = \"{}\"\n", self.directory().display()));
        }
        for (key, value) in [("size_max", "8GiB"), ("free_min", "1%")] {
            if !has(&self.cache, key) {
                text.push_str(&format!("{key} = \"{value}\"\n"));
            }
        }
        text.push_str(&self.cache.join("\n"));
        text.push_str("\n\n");
        text.push_str(&self.tables.join("\n"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments and nothing of the tests' own environment that it could heed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_larder").to_owned();
        let mut words = self.launcher.iter().chain([&program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(arguments).current_dir(self.home.path()).env_clear().env("HOME", self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, which has to come within the patience.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let config = self.config_file();
        let mut command = self.command(arguments);
        command.arg("--config").arg(config);
        run_to_end(command).await
    }

    /// Starts `larder serve` and waits until it is ready.
    pub async fn start(&self) -> Larder {
        self.config_file();
        self.start_again().await
    }

    /// Starts `larder serve` on the configuration file as it stands.
    pub async fn start_again(&self) -> Larder {
        let path = self.home.path().join("larder.toml");
        let mut command = self.command(&["serve", "--config"]);
        command.arg(path);
        Larder::start(command).await
    }
}

/// Waits for the end of a process, or kills it when that does not come within the patience.
pub async fn run_to_end(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
    match tokio::time::timeout(PATIENCE, waited).await {
        Ok(output) => output.unwrap().unwrap(),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{command:?} did not end");
        }
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A running `larder serve`; killed when dropped.
pub struct Larder {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// The registry door.
    pub address: SocketAddr,
    /// The admin door.
    pub admin: SocketAddr,
}

impl Larder {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        for stream in [
            child.stderr.take().map(|stream| Box::new(stream) as Box<dyn std::io::Read + Send>),
            child.stdout.take().map(|stream| Box::new(stream) as Box<dyn std::io::Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            });
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut larder = Self { child, log, address: nowhere, admin: nowhere };
        let started = Instant::now();
        loop {
            if let Some((address, admin)) = listening(&larder.log()) {
                (larder.address, larder.admin) = (address, admin);
                break;
            }
            let ended = larder.child.try_wait().unwrap();
            assert!(ended.is_none(), "larder ended with {ended:?}: {:#?}", larder.log());
            assert!(started.elapsed() < PATIENCE, "no line that tells where it listens: {:#?}", larder.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        until("readyz", async || get("/readyz").fetch(larder.admin).await.status == 200).await;
        larder
    }

    /// What it printed so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and the end that has to follow.
    pub async fn stop(self) -> ExitStatus {
        self.terminate();
        self.ended().await
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "no end after SIGTERM");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The most memory it ever had resident, in bytes.
    pub fn resident_bytes_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// The sum over all series of a metric whose labels hold all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = get("/metrics").fetch(self.admin).await.body;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the end of larder's log");
            let log = self.log();
            for line in &log[log.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// The two addresses of the lines that tell where it listens: the registry door and the admin door.
fn listening(log: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    let mut doors: Vec<(bool, SocketAddr)> = Vec::new();
    for line in log.iter().filter(|line| line.contains("listening")) {
        for (at, _) in line.match_indices("127.0.0.1:") {
            let text: String =
                line[at..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
            if let Ok(address) = text.parse::<SocketAddr>()
                && doors.iter().all(|(_, door)| *door != address)
            {
                let is_admin = line[..at].trim_end_matches(['=', '"', ' ']).ends_with("admin");
                doors.push((is_admin, address));
            }
        }
    }
    doors.sort_by_key(|(is_admin, _)| *is_admin);
    match doors[..] {
        [(_, address), (_, admin)] => Some((address, admin)),
        _ => None,
    }
}

#[test]
fn finds_the_doors_in_the_log() {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for (log, expected) in [
        (vec!["INFO listening listen=127.0.0.1:40123 admin=127.0.0.1:40124"], Some((at(40123), at(40124)))),
        (vec!["listening admin=\"127.0.0.1:1\" listen=\"127.0.0.1:2\""], Some((at(2), at(1)))),
        (vec!["starting on 127.0.0.1:7"], None),
    ] {
        let log: Vec<String> = log.into_iter().map(str::to_owned).collect();
        assert_eq!(listening(&log), expected, "{log:?}");
    }
}
