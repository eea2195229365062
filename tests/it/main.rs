//! The tests: one binary, one module a subject. Each drives the real program as a process, with a cleared environment,
//! against a stand-in for Azure that speaks real TLS, and compares all that it says. They need neither root nor
//! containers; what does is a script beside this folder.

#[path = "../azure/mod.rs"]
mod azure;
mod become_command;
mod command_line;
mod docs;
mod environment;
mod exit_codes;
mod imds;
mod leaks;
mod network;
mod references;
mod retries;
mod signals;
mod support;
mod tidy;
mod vault;
mod workload;
