//! Integration tests: the program as its users run it.

#![allow(clippy::unwrap_used)]

mod clients;
mod modules;
