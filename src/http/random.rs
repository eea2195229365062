//! Random bytes, from the generator that TLS uses: for ids and for the jitter of pauses.

use ring::rand::{SecureRandom, SystemRandom};

/// A random UUID, to be found again in the logs of the service that got it (RFC 9562, version 4).
pub fn request_id() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |part: &[u8]| {
        part.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    format!(
        "{}-{}-{}-{}-{}",
        hex(&bytes[..4]),
        hex(&bytes[4..6]),
        hex(&bytes[6..8]),
        hex(&bytes[8..10]),
        hex(&bytes[10..])
    )
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The kernel's generator does not fail once it is seeded; if it did, TLS would fail next.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}
