//! larder: a pull-through cache between container runtimes and registries.
//!
//! The map of the modules is `ARCHITECTURE.md` beside this file. A module imports only from rows above it.

pub mod admin;
pub mod cache;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod diagnosis;
pub mod metrics;
pub mod oci;
pub mod server;
pub mod store;
pub mod transport;
pub mod upstream;
