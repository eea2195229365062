//! How many connections to open to each vault.
//!
//! A TLS handshake costs more CPU time than ten requests, so a vault that is near gets one connection, which reads its
//! secrets one after the other. More are opened where they save time: where the vault is far or answers slowly, where
//! there are many secrets, and while the access token is awaited, which hides the handshakes.

use std::path::Path;
use std::time::Duration;

use crate::input;

/// The maximum number of connections to one vault, each with its own thread. With it, 50 secrets take two rounds.
pub const MAX_PER_VAULT: usize = 25;
/// The maximum number of connections to all vaults together, except that each vault has one.
pub const MAX: usize = 32;
/// The same under a CPU quota below [`SMALL_QUOTA`]: there a handshake may use up the CPU time of a whole period.
const MAX_WITH_SMALL_QUOTA: usize = 4;
/// A CPU quota in CPUs.
const SMALL_QUOTA: f64 = 0.25;
/// The maximum number of connections to a vault that responds within [`NEAR`]: there CPUs are the limit.
const MAX_TO_FAST_VAULT: usize = 4;
/// A vault whose TCP connection takes longer than this is far.
const NEAR: Duration = Duration::from_millis(1);
/// How long to wait for any other step of the first connection before more are opened.
const PATIENCE: Duration = Duration::from_millis(3);
/// More connections are opened only if the secrets that wait would take longer than this.
const WORTHWHILE: Duration = Duration::from_millis(10);

/// What the first connection to a vault waits for, or how fast the connections are.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// The address of the vault is being looked up.
    LookingUp,
    /// It has been connecting for this time: TCP, or the tunnel of a proxy.
    Connecting(Duration),
    /// Connected for this time, it waits for the TLS handshake, which may go further than to the end of a tunnel; or for
    /// the access token; or for the first response.
    Waiting(Duration),
    /// The number of responses that all connections got in this time.
    Responding(usize, Duration),
}

/// What is known of a vault when connections are opened.
#[derive(Clone, Copy, Debug)]
pub struct VaultState {
    /// The progress of its connections.
    pub progress: Progress,
    /// The number of connections, including those that are being opened.
    pub connections: usize,
    /// The number of secrets that none of these connections reads or is about to read.
    pub waiting: usize,
}

impl VaultState {
    /// How many connections this vault should have in addition.
    fn wanted(&self) -> usize {
        let mut max = MAX_PER_VAULT;
        let wanted = match self.progress {
            Progress::LookingUp => 0,
            Progress::Connecting(time) if time < NEAR => 0,
            Progress::Waiting(time) | Progress::Responding(_, time) if time < PATIENCE => 0,
            Progress::Connecting(_) | Progress::Waiting(_) | Progress::Responding(0, _) => {
                self.waiting
            }
            Progress::Responding(responses, time) => {
                let left = time.as_secs_f64() * self.waiting as f64 / responses as f64;
                let share = left / WORTHWHILE.as_secs_f64();
                if time * (self.connections as u32) < NEAR * responses as u32 {
                    max = MAX_TO_FAST_VAULT;
                }
                (self.connections as f64 * (share - 1.0)).ceil() as usize
            }
        };
        let most = max.saturating_sub(self.connections);
        wanted.min(self.waiting).min(most)
    }

    /// Whether more connections may be wanted later.
    pub fn may_want_more(&self) -> bool {
        self.waiting > 0 && self.connections < MAX_PER_VAULT
    }

    /// When to look at this vault again at the latest, if that is known: when it no longer counts as near or fast.
    pub fn next_look(&self) -> Option<Duration> {
        let (limit, time) = match self.progress {
            Progress::LookingUp => return None,
            Progress::Connecting(time) => (NEAR, time),
            Progress::Waiting(time) | Progress::Responding(_, time) => (PATIENCE, time),
        };
        limit.checked_sub(time).filter(|left| !left.is_zero())
    }
}

/// How many connections to open to each vault now. Vaults take turns while there are not enough for all.
pub fn connections_to_open(vaults: &[VaultState], has_small_quota: bool) -> Vec<usize> {
    let max = match has_small_quota {
        true => MAX_WITH_SMALL_QUOTA,
        false => MAX,
    };
    let opened = vaults.iter().map(|vault| vault.connections).sum::<usize>();
    let mut free = max.saturating_sub(opened);
    let mut opened = vec![0; vaults.len()];
    for round in 0..MAX_PER_VAULT {
        for (vault, opened) in vaults.iter().zip(&mut opened) {
            if free > 0 && round < vault.wanted() {
                *opened += 1;
                free -= 1;
            }
        }
    }
    opened
}

/// Whether the cgroup of this process has a CPU quota below [`SMALL_QUOTA`]. A container sees its own cgroup as the root
/// (cgroup_namespaces(7)), or below the path that /proc/self/cgroup names.
pub fn has_small_quota() -> bool {
    let read = |path: &str| {
        let text = input::read(Path::new(path), input::MAX_SIZE).unwrap_or_default();
        String::from_utf8(text).unwrap_or_default()
    };
    let cgroups = read("/proc/self/cgroup");
    let quotas = cgroups.lines().flat_map(|line| {
        // `0::/path` in version 2, `4:cpu,cpuacct:/path` in version 1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        [path, ""].into_iter().find_map(|path| {
            let text = match controllers {
                "" => read(&format!("/sys/fs/cgroup{path}/cpu.max")),
                _ if controllers.split(',').any(|name| name == "cpu") => {
                    let file = |name| read(&format!("/sys/fs/cgroup/cpu{path}/cpu.cfs_{name}_us"));
                    file("quota") + &file("period")
                }
                _ => return None,
            };
            parse_quota(&text)
        })
    });
    quotas.into_iter().any(|quota| quota < SMALL_QUOTA)
}

/// A CPU quota in CPUs: the text has the quota and the period, in microseconds (cgroups(7)). `None` if there is no quota,
/// which is `max` or -1.
fn parse_quota(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u32>);
    let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(f64::from(quota) / f64::from(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The number of connections that are opened to one vault, which has `connections` already.
    fn opened(progress: Progress, connections: usize, waiting: usize, quota: bool) -> usize {
        let vault = VaultState {
            progress,
            connections,
            waiting,
        };
        connections_to_open(&[vault], quota)[0]
    }

    #[test]
    fn connections_are_opened_where_they_save_time() {
        use Progress::{Connecting, LookingUp, Responding, Waiting};
        for (progress, connections, waiting, expected) in [
            (LookingUp, 1, 9, 0),
            // Near until one millisecond has passed.
            (Connecting(MS / 2), 1, 9, 0),
            (Connecting(MS), 1, 9, 9),
            (Connecting(MS), 1, 0, 0),
            (Connecting(MS), 1, 99, 24),
            // No token, or no response, within three milliseconds.
            (Waiting(2 * MS), 1, 9, 0),
            (Waiting(3 * MS), 1, 9, 9),
            (Responding(0, 2 * MS), 2, 9, 0),
            (Responding(0, 3 * MS), 2, 9, 9),
            // The rest takes 9 ms, 11 ms, 40 ms, a second.
            (Responding(2, 2 * MS), 1, 40, 0),
            (Responding(3, 3 * MS), 1, 9, 0),
            (Responding(3, 3 * MS), 1, 11, 1),
            (Responding(3, 3 * MS), 1, 40, 3),
            (Responding(6, 3 * MS), 2, 80, 6),
            (Responding(30, 3 * MS), 1, 480, 3),
            (Responding(3, 300 * MS), 1, 10, 10),
            (Responding(3, 3 * MS), 1, 1_000, 24),
            (Responding(3, 3 * MS), 25, 1_000, 0),
        ] {
            let found = opened(progress, connections, waiting, false);
            assert_eq!(found, expected, "{progress:?}, {connections}, {waiting}");
            let found = opened(progress, connections, waiting, true);
            let most = 4_usize.saturating_sub(connections);
            assert_eq!(found, expected.min(most), "{progress:?} under a quota");
        }
    }

    #[test]
    fn vaults_share_the_connections() {
        let far = |connections, waiting| VaultState {
            progress: Progress::Connecting(MS),
            connections,
            waiting,
        };
        for (vaults, expected) in [
            (vec![far(1, 9), far(1, 9)], vec![9, 9]),
            (vec![far(1, 99), far(1, 9), far(1, 1)], vec![19, 9, 1]),
            (vec![far(1, 99); 2], vec![15, 15]),
            (vec![far(1, 99); 20], [vec![1; 12], vec![0; 8]].concat()),
            (vec![far(1, 99); 40], vec![0; 40]),
        ] {
            assert_eq!(connections_to_open(&vaults, false), expected);
        }
    }

    #[test]
    fn quotas_are_parsed() {
        for (text, expected) in [
            ("5000 100000\n", Some(0.05)),
            ("max 100000\n", None),
            ("-1\n100000\n", None),
            ("200000\n100000\n", Some(2.0)),
            ("", None),
            ("5000", None),
        ] {
            assert_eq!(parse_quota(text), expected, "{text}");
        }
    }
}
