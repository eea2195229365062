//! Random bytes from the generator that TLS uses: for UUIDs and the jitter of retries.

use ring::rand::{SecureRandom, SystemRandom};

/// A random UUID (RFC 9562, version 4).
pub fn random_uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|group| &hex[group]).join("-")
}

/// `N` random bytes from the kernel.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The kernel's generator does not fail once it is seeded; if it did, so would the TLS handshake.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}
