//! The command line.

use crate::{
    peers::Kind,
    rows::{Extent, FIGURES},
};
use clap::Parser;
use std::path::PathBuf;

/// Measures larder beside its peers, all on this machine, and prints the table.
#[derive(Debug, Parser)]
#[command(name = "figures")]
pub struct Arguments {
    /// Measure less: within 3 minutes instead of 12
    #[arg(long)]
    quick: bool,
    /// Print JSON with every single measurement instead of the table
    #[arg(long)]
    pub json: bool,
    /// Only this row; may be given several times
    #[arg(long, value_name = "ROW", value_parser = FIGURES.iter().map(|figure| figure.id()).collect::<Vec<_>>())]
    only: Vec<String>,
    /// Measure this larder instead of the one just built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_larder"))]
    pub larder: PathBuf,
    /// Only this system; may be given several times
    #[arg(long, value_name = "SYSTEM", value_parser = Kind::ALL.map(Kind::id).to_vec())]
    system: Vec<String>,
    /// Where the caches are kept while measuring
    #[arg(long, value_name = "PATH", default_value_os_t = std::env::temp_dir())]
    pub directory: PathBuf,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// How much to measure.
    pub fn extent(&self) -> Extent {
        if self.quick { Extent::Quick } else { Extent::Full }
    }

    /// Whether a row is wanted.
    pub fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }

    /// Whether a system is wanted.
    pub fn wants_system(&self, kind: Kind) -> bool {
        self.system.is_empty() || self.system.iter().any(|system| system == kind.id())
    }
}
