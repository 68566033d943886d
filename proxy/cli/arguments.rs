//! What may stand on the command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// larder is a cache between container runtimes and the registries they pull from. It keeps what was pulled, holds the
/// credentials, and says why a pull failed.
#[derive(Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the cache until it is told to stop by SIGTERM or SIGINT.
    ///
    /// Logs go to standard error; LARDER_LOG chooses how much is logged, such as "debug" or "warn,larder=debug".
    Serve {
        /// The configuration file. Without one the shipped configuration counts; LARDER_ variables count above both.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Has a running larder ask upstream for an image at its next pull, however fresh what it holds may be.
    ///
    /// Finds the running larder by its cache directory, so it needs the same configuration.
    Refresh {
        /// The image, as it is written in a pod or after "docker pull".
        image: String,
        /// The configuration file that the running larder was started with.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Prints the outcome as one JSON object.
        #[arg(long)]
        json: bool,
    },
}
