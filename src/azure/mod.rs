//! How Azure is asked: identities and their access tokens, Key Vault, and fetching everything a plan names.

pub mod fetch;
pub mod identity;
pub mod key_vault;
mod tenant;
