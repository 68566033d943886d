//! Integration tests: the program as its users run it, in front of an upstream that misbehaves on command.

#![allow(clippy::unwrap_used)]

mod behaviour;
mod conformance;
mod modules;
mod rig;
