//! The program under test, as a process: it can be killed, lose its index and come back at the same address.

use super::program::{Daemon, confine, free_port};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A running larder.
pub struct Larder {
    directory: PathBuf,
    /// Where nodes speak to it.
    pub port: u16,
    /// Where health and metrics are.
    pub admin_port: u16,
    daemon: Option<Daemon>,
}

impl Larder {
    /// Starts one that keeps everything under `directory`; `configuration` is added to what the doors need.
    pub fn start(directory: &Path, configuration: &str) -> Self {
        let (port, admin_port) = (free_port(), free_port());
        fs::create_dir_all(directory).unwrap();
        let configuration = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin_port}\"\n\
             [cache]\ndirectory = \"{}\"\nfree_min = \"1%\"\ntag_ttl = \"1s\"\nmissing_ttl = \"1s\"\n{configuration}",
            directory.join("data").display()
        );
        fs::write(directory.join("larder.toml"), configuration).unwrap();
        let mut larder = Self { directory: directory.to_owned(), port, admin_port, daemon: None };
        larder.resume();
        larder
    }

    /// `127.0.0.1:PORT`, as clients name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Takes its index away. The records stay.
    pub fn lose_index(&self) {
        assert!(self.daemon.is_none(), "it is still running");
        fs::remove_file(self.directory.join("data/index.redb")).unwrap();
    }

    /// Starts it again, at the same address on the same files.
    pub fn resume(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        confine(&mut command);
        command.arg("serve").arg("--config").arg(self.directory.join("larder.toml"));
        let mut daemon = Daemon::start(&mut command, &self.directory.join("larder.log"));
        let admin_port = self.admin_port;
        daemon.wait_until(|_| matches!(get(admin_port, "/readyz"), Some((200, _))));
        self.daemon = Some(daemon);
    }

    /// The sentence with which it refuses the GET of `path`.
    #[track_caller]
    pub fn sentence(&self, path: &str) -> String {
        let (status, body) = get(self.port, path).expect("larder answers");
        assert!(status >= 400, "{path}: {status}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }
}

/// Status and body of a GET; `None` where nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}
