//! Key Vault: reading and listing secrets.

pub mod challenge;
mod client;
pub mod error;
pub mod list;

pub use client::{LIST_PATH, SecretBundle, VaultClient, VaultRequest, with_list_hint};
