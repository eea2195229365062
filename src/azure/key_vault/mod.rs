//! Key Vault: reading secrets.

pub mod challenge;
mod client;
pub mod error;

pub use client::{SecretBundle, VaultClient};
