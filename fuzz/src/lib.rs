//! The product's modules once more, as a library: the product itself is only a program, and libFuzzer needs functions.
//!
//! This file is also a test of the product (see its Cargo.toml): `cargo test` replays every input in `corpus/`, on stable
//! Rust and without libFuzzer.

// A module that a target uses a part of is whole here. `main.rs` and the commands are not.
#![allow(dead_code, unused_imports)]

#[path = "../../src/azure/mod.rs"]
mod azure;
#[path = "../../src/date.rs"]
mod date;
#[path = "../../src/der.rs"]
mod der;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/http/mod.rs"]
mod http;
#[path = "../../src/input.rs"]
mod input;
#[path = "../../src/log.rs"]
mod log;
#[path = "../../src/os/mod.rs"]
mod os;
#[path = "../../src/output/mod.rs"]
mod output;
#[path = "../../src/request/mod.rs"]
mod request;
#[path = "../../src/secret.rs"]
mod secret;
#[path = "../../src/signals/mod.rs"]
mod signals;

mod readers;
pub mod targets;

#[cfg(test)]
mod generated;
#[cfg(test)]
mod replay;
