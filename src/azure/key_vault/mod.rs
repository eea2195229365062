//! Key Vault: reading secrets.

mod challenge;
mod client;
mod error;

pub use client::{SecretBundle, VaultClient};
