//! Programs nobody here wrote: where they are, how they are started, waited for and ended.
//!
//! Nothing here goes through a shell, and nothing is ended by name: each program has a process group of its own, and
//! what it printed is kept for the message of a failing test.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// For one command of a client. A pull over loopback takes a second; dockerd on a busy machine may take ten.
pub const COMMAND_SECONDS_MAX: u64 = 120;
/// For a daemon until it answers, and until it has ended after SIGTERM.
pub const DAEMON_SECONDS_MAX: u64 = 60;
const POLL: Duration = Duration::from_millis(20);

/// Whether the test that runs here has the programs it needs, and root where it mounts or makes namespaces. Where not,
/// the test is named as skipped, on a standard error that the test runner does not capture; `tests/run` installs them
/// all and sets `LARDER_TEST_REQUIRE`, which makes a missing one a failure.
pub fn available(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| match **program {
        "root" => !rustix::process::geteuid().is_root(),
        program => find(program).is_none(),
    });
    let Some(missing) = missing else { return true };
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("LARDER_TEST_REQUIRE").is_none(), "{test} needs {missing}, which is not here");
    let _ = writeln!(io::stderr(), "skipped: {test} needs {missing}");
    false
}

/// Where `program` is: among those that `tests/run` built, else in `PATH` or where system programs are.
pub fn find(program: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    cache
        .map(|cache| cache.join("larder-tests/bin"))
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// `program`, to be given its arguments.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| panic!("{program} is not installed")));
    confine(&mut command);
    command
}

/// Keeps a program on this machine: whatever it would ask of another one goes to a proxy that nobody listens on. (Some
/// fall back to the registry that an image is named after.)
pub fn confine(command: &mut Command) {
    for variable in ["HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(variable, "http://127.0.0.1:9").env_remove(variable.to_lowercase());
    }
    command.env("NO_PROXY", "127.0.0.1,localhost").env_remove("no_proxy").env_remove("ALL_PROXY");
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// The command, for the message of a failure.
    pub line: String,
    /// It ended with exit code 0, in time.
    pub success: bool,
    /// Standard output.
    pub output: String,
    /// Standard output, then standard error.
    pub text: String,
}

impl Outcome {
    /// The standard output of a command that had to succeed.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.success, "failed: {}\n{}", self.line, self.text);
        self.output
    }

    /// The text of a command that had to fail.
    #[track_caller]
    pub fn expect_failure(self) -> String {
        assert!(!self.success, "did not fail: {}\n{}", self.line, self.text);
        self.text
    }
}

/// Runs `command` to its end, [`COMMAND_SECONDS_MAX`] at most.
pub fn run(command: &mut Command) -> Outcome {
    let line = line(command);

    let [output, errors] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let mut child = spawn(command, output.as_file(), errors.as_file());
    let status = wait(&mut child, Duration::from_secs(COMMAND_SECONDS_MAX));
    if status.is_none() {
        let _ = kill_process_group(pid(&child), Signal::KILL);
        let _ = child.wait();
    }
    let output = read(output.path());
    let mut text = output.clone() + &read(errors.path());
    if status.is_none() {
        text.push_str("\n(ended by the test: it took too long)");
    }
    Outcome { line, success: status == Some(true), output, text }
}

/// Repeats `probe` until it gives something, and fails loudly when `what` does not come.
#[track_caller]
pub fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(DAEMON_SECONDS_MAX);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in {DAEMON_SECONDS_MAX} s: {what}");
        thread::sleep(POLL);
    }
}

/// A TCP port of loopback that nobody listens on, handed out once. Below the range that outgoing connections take, so
/// that none of those is in the way when a server comes back to its port.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() % 400 * 25;
    (0..2000)
        .map(|_| 12_000 + ((first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of two thousand ports is free")
}

/// A program that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
    ended: bool,
}

impl Daemon {
    /// Starts `command` with its output in `log`, which is continued where it exists.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::options().create(true).append(true).open(log).unwrap();
        Self { child: spawn(command, &file, &file), name, log: log.to_owned(), ended: false }
    }

    /// Waits until `ready` says so; fails at once where the program ends before.
    #[track_caller]
    pub fn wait_until(&mut self, mut ready: impl FnMut(&str) -> bool) {
        wait_until(&format!("{} is ready; its log:\n{}", self.name, self.log.display()), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            ready(&self.log()).then_some(())
        });
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Asks it to end, and sees to it that it did, with what it started.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it as a crash would: no signal handler runs.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let offspring = offspring(self.child.id());
        let _ = kill_process_group(pid(&self.child), signal);
        if wait(&mut self.child, Duration::from_secs(DAEMON_SECONDS_MAX)).is_none() {
            let _ = kill_process_group(pid(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
        // dockerd's containerd has a group of its own.
        for process in offspring.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
            eprintln!("---- {}\n{}", self.name, &log[tail..]);
        }
    }
}

/// Starts it in a group of its own, and such that it does not outlive the tests even where those are killed.
fn spawn(command: &mut Command, output: &File, errors: &File) -> Child {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        guarded.current_dir(directory);
    }
    guarded.stdin(Stdio::null()).process_group(0);
    guarded.stdout(output.try_clone().unwrap()).stderr(errors.try_clone().unwrap());
    guarded.spawn().unwrap_or_else(|error| panic!("{}: {error}", line(command)))
}

/// Whether it succeeded; `None` where it did not end in time.
fn wait(child: &mut Child, at_most: Duration) -> Option<bool> {
    let deadline = Instant::now() + at_most;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status.success()),
            None if Instant::now() >= deadline => return None,
            None => thread::sleep(POLL),
        }
    }
}

/// The process ids of the children of `parent`, and of theirs.
fn offspring(parent: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    children.iter().flat_map(|child| offspring(*child).into_iter().chain([*child as i32])).collect()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
