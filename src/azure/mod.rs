//! Azure's services: identities and their access tokens, Key Vault, and fetching everything in a plan.

pub mod fetch;
pub mod identity;
pub mod key_vault;
