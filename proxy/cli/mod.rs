//! The commands: read the command line, do it, tell the outcome by words on standard error and an exit code.

mod arguments;
mod failure;
mod log;
mod refresh;
mod serve;

use crate::config::Config;
use arguments::{Arguments, Command};
use clap::Parser as _;
use failure::Failure;
use std::{ffi::OsString, path::Path, process::ExitCode, time::Duration};

/// Runs the program. Exit codes: 0; 1 where it failed; 2 for wrong usage or configuration.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too. Nothing can be done where they cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("larder: {failure}");
            failure.exit_code()
        }
    }
}

fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { config } => {
            let config = load(config.as_deref())?;
            log::start()?;
            block_on(serve::serve(config))
        }
        Command::Refresh { image, config, json } => {
            let config = load(config.as_deref())?;
            block_on(refresh::refresh(&config, &image, json))
        }
    }
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    // A variable that is not UTF-8 is none of ours, nor a password that could be shown to anyone.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(file, environment).map_err(|error| Failure::usage(&error))
}

/// For a blocking call that hangs, as on a disk that does: it must not keep the program from ending.
const THREADS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the threads cannot be started: {error}")))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(THREADS_STOP_TIMEOUT);
    outcome
}

#[cfg(test)]
mod tests;
