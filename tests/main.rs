//! Integration tests.

mod modules;
