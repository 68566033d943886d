//! A server's processes: started in a process group of their own, measured, and ended whatever happens to us.

use super::Error;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long a server may take to end on request before it is made to.
const END_MAX: Duration = Duration::from_secs(3);
/// Linux counts processor time in these (USER_HZ, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
/// How much of what a failed server printed is told.
const LOG_MAX: usize = 600;

/// Process groups that still run, for [`end_all`].
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running server.
pub struct Process {
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to a file in `directory`.
    pub fn spawn(mut command: Command, directory: &Path) -> Result<Self, Error> {
        let log = directory.join("printed");
        let printed = File::create(&log).map_err(Error::Directory)?;
        command
            .stdin(Stdio::null())
            .stdout(printed.try_clone().map_err(Error::Directory)?)
            .stderr(printed)
            .current_dir(directory)
            .process_group(0);
        let child = command.spawn().map_err(Error::Spawn)?;
        let group = Pid::from_child(&child);
        running().push(group);
        Ok(Self { child, group, log })
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it printed.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_MAX)..]).trim().to_owned()
    }

    /// Sum of the peaks of its processes.
    pub fn resident_bytes_max(&self) -> u64 {
        let peak = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        self.processes().filter_map(peak).sum::<u64>() * 1024
    }

    /// User and system time of all its processes.
    pub fn processor_seconds(&self) -> f64 {
        let ticks = |pid: u32| {
            let fields = stat(pid)?;
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        self.processes().filter_map(ticks).sum::<u64>() as f64 / TICKS_PER_SECOND
    }

    /// The one started and its children.
    fn processes(&self) -> impl Iterator<Item = u32> {
        let own = self.child.id();
        let parent = own.to_string();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(move |pid| *pid == own || stat(*pid).is_some_and(|fields| fields.get(1) == Some(&parent)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::TERM);
        let started = Instant::now();
        while self.ended().is_none() && started.elapsed() < END_MAX {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Also where the leader has ended: its group may not have.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        running().retain(|group| *group != self.group);
    }
}

/// A command whose process gets SIGTERM when we die, even of SIGKILL, where util-linux' setpriv is there to arrange it.
/// It must be spawned by the main thread: the kernel watches the thread, not the process (prctl(2), PR_SET_PDEATHSIG).
pub fn outlive_none(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Ends every server at once: for when we are interrupted or took too long.
pub fn end_all() {
    for group in running().drain(..) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The fields of `/proc/PID/stat` after the command's name, which may hold blanks: the state is number 0.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}
