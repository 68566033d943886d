//! Integration tests: the program as its users run it, in front of an upstream that misbehaves on command, and between
//! real runtimes and real registries.

#![allow(clippy::unwrap_used)]

mod behaviour;
mod clients;
mod conformance;
mod modules;
mod rig;
