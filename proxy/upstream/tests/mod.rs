//! The client against a scripted upstream on loopback.

mod authorization;
mod destinations;
mod faults;
mod fetching;
mod origin;
