//! The `larder` program.

use std::process::ExitCode;

/// Many small allocations of many threads; the system's allocator keeps what they free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    larder::cli::run(std::env::args_os())
}
