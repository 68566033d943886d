//! `cargo bench --bench figures`: measures larder beside its peers in one run, everything on the loopback, and prints
//! the README's table. It does not judge: a figure that is not reached is shown as that, and the exit code stays 0.

mod arguments;
mod content;
mod load;
mod machine;
mod origin;
mod peers;
mod report;
mod rows;

use arguments::Arguments;
use clap::Parser as _;
use peers::{Kind, Peers};
use rows::{Bench, FIGURES};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Twice what the slowest run should take: then something hangs.
const DEADLINE_QUICK: Duration = Duration::from_secs(6 * 60);
const DEADLINE_FULL: Duration = Duration::from_secs(24 * 60);

/// What ends the run before anything is measured.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no directory for the caches: {0}")]
    Directory(#[source] std::io::Error),
    #[error(transparent)]
    Origin(#[from] origin::Error),
    #[error("signals could not be watched: {0}")]
    Watch(#[source] std::io::Error),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let extent = arguments.extent();
    let directory =
        tempfile::Builder::new().prefix("figures-").tempdir_in(&arguments.directory).map_err(Error::Directory)?;
    watch(directory.path().to_owned(), extent.pick(DEADLINE_QUICK, DEADLINE_FULL))?;
    let peers = Peers::find(&arguments.larder, directory.path());
    let origin = origin::Origin::start()?;
    let (measured, absent): (Vec<Kind>, Vec<Kind>) =
        Kind::ALL.into_iter().filter(|kind| arguments.wants_system(*kind)).partition(|kind| peers.has(*kind));
    for kind in absent {
        eprintln!("left out, its program is not there: {}", kind.name());
    }
    let mut rows = Vec::new();
    for figure in FIGURES.iter().filter(|figure| arguments.wants(figure.id())) {
        let kinds: Vec<Kind> = figure.kinds().iter().copied().filter(|kind| measured.contains(kind)).collect();
        eprintln!("{}: {}", figure.id(), figure.title(extent));
        let bench = Bench { peers: &peers, origin: &origin, extent, directory: directory.path() };
        let started = Instant::now();
        let cells = figure.measure(&bench, &kinds);
        for cell in &cells {
            eprintln!("    {}: {}", cell.kind.name(), cell.text);
        }
        eprintln!("    took {:.0} s", started.elapsed().as_secs_f64());
        rows.push((*figure, cells));
    }
    let machine = machine::describe(directory.path());
    let report = report::Report { machine, versions: peers.versions(), extent, rows };
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.markdown());
    }
    Ok(())
}

/// Ends everything, and us, on a signal or when the run takes too long: in a thread of its own, since the main thread
/// waits for servers.
fn watch(directory: PathBuf, deadline: Duration) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Watch)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(Error::Watch)?;
        (interrupt, signal(SignalKind::terminate()).map_err(Error::Watch)?)
    };
    std::thread::spawn(move || {
        let reason = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => "interrupted",
                _ = terminate.recv() => "told to end",
                () = tokio::time::sleep(deadline) => "took too long",
            }
        });
        peers::end_all();
        let _ = std::fs::remove_dir_all(&directory); // what is left is in the system's temporary directory
        eprintln!("figures: {reason}");
        std::process::exit(1);
    });
    Ok(())
}
