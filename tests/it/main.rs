//! The tests: one binary, one module for each subject. Each runs the real program as a process, with a cleared
//! environment, against a fake Azure that speaks real TLS. Tests that need root or containers are scripts in `tests/`.
//!
//! The wording of messages is in `messages.golden.txt` alone: a test asserts the exit code, the cause, whether there is a
//! hint, and facts, see `support::Failure`.

mod arc;
#[path = "../azure/mod.rs"]
mod azure;
mod azure_cli;
mod certificates;
mod challenge;
mod check_command;
mod clouds;
mod command_line;
mod compositions;
mod demonstrations;
mod docs;
mod entra;
mod entra_token;
mod environment;
mod examples;
mod exec_process;
mod exit_codes;
mod faults;
mod from;
mod get_command;
mod help;
mod identity_sources;
mod imds;
mod input;
mod install;
mod leaks;
mod log_format;
mod managed_identities;
mod memfd;
mod memory;
mod messages;
mod migrations;
mod network;
mod optional;
mod references;
mod retries;
mod service_principal;
mod signals;
mod support;
mod support_files;
mod support_full_queue;
mod support_identities;
mod support_inherited;
mod support_listen;
mod support_namespaces;
mod support_openssl;
mod support_pages;
mod support_points;
mod support_requests;
mod support_scratch;
mod support_tables;
mod support_tracer;
mod tidy;
mod token_command;
mod token_proxy;
mod values;
mod vault;
mod workload;
mod write_every;
mod write_files;
mod write_keep;
mod write_killed;
mod write_names;
mod write_together;
