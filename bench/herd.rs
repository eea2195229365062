//! Simulates a herd: thousands of processes that start within seconds and read secrets of the same vault. Prints tables.
//! `bench/herd` builds and runs it.
//!
//! The vault grants as many requests as fit into its window and answers 429 to all others, which do not count
//! (<https://learn.microsoft.com/azure/key-vault/general/overview-throttling>). Each process asks for all its secrets
//! at once. One that fails is started again by the kubelet, after 10 s, which double up to 5 minutes. The pauses of akv-init
//! are those of its sources, not a copy. A run is the same each time: the random numbers have a fixed seed.

#[path = "../src/http/backoff.rs"]
mod backoff;

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use backoff::{Gate, Pass};

/// What a vault grants: this number of requests in each window of this length.
/// <https://learn.microsoft.com/azure/key-vault/general/service-limits>
const LIMIT: usize = 4_000;
const WINDOW: Duration = Duration::from_secs(10);
/// The time from a request to its response.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// The defaults of `--timeout` and `--throttle-timeout`.
const TIMEOUT: Duration = Duration::from_secs(120);
const THROTTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// The kubelet's pause before it starts a container again: the first, and the longest.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
const FIRST_RESTART_PAUSE: Duration = Duration::from_secs(10);
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(300);

/// What a process does after a 429.
#[derive(Clone, Copy)]
enum Policy {
    /// akv-init: one gate for all requests.
    OneGate,
    /// Each secret backs off for itself, from 0.25 s to 8 s, at least 1 s, until the deadline.
    EachSecret,
    /// The retries of the Azure SDK for Go: three for each request, and then the process ends
    /// (<https://github.com/Azure/azure-sdk-for-go/blob/main/sdk/azcore/runtime/policy_retry.go>).
    GoSdk,
}

/// A herd of processes.
#[derive(Clone, Copy)]
struct Herd {
    policy: Policy,
    processes: usize,
    secrets: u32,
    /// The first starts are spread evenly over this time.
    starts_within: Duration,
    round_trip: Duration,
    /// The processes are divided among so many vaults.
    vaults: usize,
    /// What a vault grants in any window of this length.
    limit: usize,
    window: Duration,
    /// The `Retry-After` of each 429.
    retry_after: Option<Duration>,
    /// Whether others have used up the limit of the vault when the first process starts.
    starts_throttled: bool,
    /// Selects the random numbers.
    seed: u64,
}

impl Herd {
    /// The number of requests that the vault has granted to others when the first process starts.
    fn granted_before(&self) -> usize {
        match self.starts_throttled {
            true => self.limit,
            false => 0,
        }
    }

    /// When each process starts first.
    fn starts(&self) -> Vec<Duration> {
        let mut random = Random::new(0xd1b5_4a32_d192_ed03, self.seed);
        let start = |_| self.starts_within * random.next() / u32::MAX;
        (0..self.processes).map(start).collect()
    }

    /// After what time all processes can be up at the earliest: the vault grants each request as soon as it can, and
    /// nothing is asked for twice. For one vault.
    fn least_possible(&self) -> Duration {
        let mut starts = self.starts();
        starts.sort();
        let mut granted = vec![Duration::ZERO; self.granted_before()];
        for start in starts {
            for _ in 0..self.secrets {
                let before_window = granted.len().checked_sub(self.limit);
                let earliest = before_window.map_or(start, |index| granted[index] + self.window);
                granted.push(start.max(earliest));
            }
        }
        granted
            .last()
            .map_or(Duration::ZERO, |last| *last + self.round_trip)
    }
}

/// Random numbers (xorshift64).
struct Random(u64);

impl Random {
    /// Different numbers for each constant and each seed.
    fn new(constant: u64, seed: u64) -> Random {
        Random(constant.wrapping_mul(2 * seed + 1))
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

/// What became of a herd.
struct Outcome {
    all_up_after: Duration,
    requests: u64,
    throttled: u64,
    restarts: u64,
    needed: u64,
}

impl Outcome {
    /// How many requests were sent for each that is needed.
    fn ratio(&self) -> f64 {
        self.requests as f64 / self.needed as f64
    }
}

struct Process {
    started: Duration,
    /// The number of restarts. Whatever happens to the process before a restart is void.
    restarts: u32,
    /// The secrets that have not arrived.
    missing: u32,
    /// Of these, the ones that have no request under way; for [`Policy::OneGate`].
    waiting: u32,
    gate: Gate,
    deadline: Duration,
}

#[derive(Clone, Copy)]
enum Action {
    Start,
    /// Send what may be sent; for [`Policy::OneGate`].
    Wake,
    /// Send one request, after so many attempts; for the other policies.
    Send(u32),
    Response {
        is_granted: bool,
        pass: Pass,
        attempts: u32,
    },
}

struct Event {
    time: Duration,
    /// Events of the same time happen in the order in which they were planned.
    number: u64,
    process: usize,
    restarts: u32,
    action: Action,
}

impl Ord for Event {
    /// The earliest event is the greatest, since a `BinaryHeap` returns the greatest.
    fn cmp(&self, other: &Event) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

struct Simulation {
    herd: Herd,
    processes: Vec<Process>,
    events: BinaryHeap<Event>,
    planned: u64,
    /// For each vault, when it granted the requests of the last window.
    granted: Vec<VecDeque<Duration>>,
    random: Random,
    outcome: Outcome,
}

impl Simulation {
    fn run(herd: Herd) -> Outcome {
        let mut simulation = Simulation {
            herd,
            processes: Vec::new(),
            events: BinaryHeap::new(),
            planned: 0,
            granted: vec![vec![Duration::ZERO; herd.granted_before()].into(); herd.vaults],
            random: Random::new(0x9e37_79b9_7f4a_7c15, herd.seed),
            outcome: Outcome {
                all_up_after: Duration::ZERO,
                requests: 0,
                throttled: 0,
                restarts: 0,
                needed: herd.processes as u64 * u64::from(herd.secrets),
            },
        };
        for (process, start) in herd.starts().into_iter().enumerate() {
            simulation.processes.push(Process {
                started: Duration::ZERO,
                restarts: 0,
                missing: 0,
                waiting: 0,
                gate: Gate::default(),
                deadline: TIMEOUT,
            });
            simulation.plan(start, process, Action::Start);
        }
        while let Some(event) = simulation.events.pop() {
            if event.restarts == simulation.processes[event.process].restarts {
                simulation.act(event.time, event.process, event.action);
            }
        }
        simulation.outcome
    }

    fn plan(&mut self, time: Duration, process: usize, action: Action) {
        self.planned += 1;
        self.events.push(Event {
            time,
            number: self.planned,
            process,
            restarts: self.processes[process].restarts,
            action,
        });
    }

    fn act(&mut self, now: Duration, index: usize, action: Action) {
        let secrets = self.herd.secrets;
        match action {
            Action::Start => {
                let process = &mut self.processes[index];
                process.started = now;
                process.missing = secrets;
                process.waiting = secrets;
                process.gate = Gate::default();
                process.deadline = TIMEOUT;
                match self.herd.policy {
                    Policy::OneGate => self.plan(now, index, Action::Wake),
                    _ => (0..secrets).for_each(|_| self.plan(now, index, Action::Send(0))),
                }
            }
            Action::Wake => {
                let round_trip = self.herd.round_trip;
                while self.processes[index].waiting > 0 {
                    let process = &mut self.processes[index];
                    let Ok(pass) = process.gate.enter(now - process.started) else {
                        break;
                    };
                    process.waiting -= 1;
                    let is_granted = self.request(now, index);
                    let response = Action::Response {
                        is_granted,
                        pass,
                        attempts: 0,
                    };
                    match round_trip.is_zero() {
                        true => self.act(now, index, response),
                        false => self.plan(now + round_trip, index, response),
                    }
                }
            }
            Action::Send(attempts) => {
                let is_granted = self.request(now, index);
                let response = Action::Response {
                    is_granted,
                    pass: Pass::default(),
                    attempts: attempts + 1,
                };
                self.plan(now + self.herd.round_trip, index, response);
            }
            Action::Response {
                is_granted: true,
                pass,
                ..
            } => {
                let process = &mut self.processes[index];
                process.missing -= 1;
                process.gate.open(pass);
                if process.missing == 0 {
                    self.outcome.all_up_after = self.outcome.all_up_after.max(now);
                } else if matches!(self.herd.policy, Policy::OneGate) {
                    self.plan(now, index, Action::Wake);
                }
            }
            Action::Response { pass, attempts, .. } => match self.herd.policy {
                Policy::OneGate => self.close_gate(now, index, pass),
                policy => self.back_off(policy, now, index, attempts),
            },
        }
    }

    /// Whether the vault grants a request.
    fn request(&mut self, now: Duration, index: usize) -> bool {
        let granted = &mut self.granted[index % self.herd.vaults];
        while granted
            .front()
            .is_some_and(|at| *at + self.herd.window <= now)
        {
            granted.pop_front();
        }
        let is_granted = granted.len() < self.herd.limit;
        match is_granted {
            true => granted.push_back(now),
            false => self.outcome.throttled += 1,
        }
        self.outcome.requests += 1;
        is_granted
    }

    fn close_gate(&mut self, now: Duration, index: usize, pass: Pass) {
        let (random, retry_after) = (self.random.next(), self.herd.retry_after);
        let process = &mut self.processes[index];
        process.waiting += 1;
        let now_in_process = now - process.started;
        let last = process.deadline.max(THROTTLE_TIMEOUT);
        if now_in_process >= last {
            return self.restart(now, index);
        }
        let opens_at = process
            .gate
            .close(pass, now_in_process, retry_after, last, random);
        let moved = backoff::moved_deadline(opens_at, TIMEOUT, THROTTLE_TIMEOUT);
        process.deadline = process.deadline.max(moved);
        let time = process.started + opens_at;
        self.plan(time, index, Action::Wake);
    }

    fn back_off(&mut self, policy: Policy, now: Duration, index: usize, attempts: u32) {
        let random = self.random.next();
        let pause = match policy {
            Policy::GoSdk if attempts > 3 => return self.restart(now, index),
            Policy::GoSdk => {
                let jitter = 0.8 + f64::from(random) / f64::from(u32::MAX) / 2.0;
                Duration::from_millis(800 * ((1 << attempts) - 1)).mul_f64(jitter)
            }
            _ => backoff::pause(attempts, None, random).max(Duration::from_secs(1)),
        };
        let deadline = self.processes[index].started + TIMEOUT;
        match policy {
            Policy::EachSecret if now + pause >= deadline => self.restart(now, index),
            _ => self.plan(now + pause, index, Action::Send(attempts)),
        }
    }

    fn restart(&mut self, now: Duration, index: usize) {
        self.outcome.restarts += 1;
        let restarts = &mut self.processes[index].restarts;
        let pause = FIRST_RESTART_PAUSE.saturating_mul(1 << (*restarts).min(10));
        *restarts += 1;
        self.plan(now + pause.min(MAX_RESTART_PAUSE), index, Action::Start);
    }
}

/// A row of a table.
fn row(name: &str, outcome: &Outcome) -> String {
    let all_up_after = seconds(outcome.all_up_after);
    let share = 100.0 * outcome.throttled as f64 / outcome.requests as f64;
    let (ratio, restarts) = (outcome.ratio(), thousands(outcome.restarts));
    format!("| {name} | {all_up_after} | {ratio:.1} | {share:.0} % | {restarts} |\n")
}

/// A time in whole seconds.
fn seconds(time: Duration) -> String {
    format!("{} s", thousands(time.as_secs_f64().round() as u64))
}

/// A number with commas: `61,735`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts = digits.as_bytes().rchunks(3).rev();
    let parts: Vec<&str> = parts.filter_map(|part| str::from_utf8(part).ok()).collect();
    parts.join(",")
}

/// The head of a table after its first column.
const COLUMNS: &str =
    "| all up after | requests ÷ needed | throttled | restarts |\n|---|---:|---:|---:|---:|\n";

fn main() -> io::Result<ExitCode> {
    let base = Herd {
        policy: Policy::OneGate,
        processes: 10_000,
        secrets: 10,
        starts_within: Duration::from_secs(10),
        round_trip: ROUND_TRIP,
        vaults: 1,
        limit: LIMIT,
        window: WINDOW,
        retry_after: None,
        starts_throttled: false,
        seed: 0,
    };
    let run = |name: &str, herd: Herd| row(name, &Simulation::run(herd));
    let (mut text, mut bars) = (String::new(), String::new());
    for (secrets, max_seconds, max_ratio) in [(10, 260, 3.2), (3, 88, 3.4)] {
        let herd = Herd { secrets, ..base };
        text += &format!("| 10,000 pods, {secrets} secrets each {COLUMNS}");
        let least = seconds(herd.least_possible());
        text += &format!("| least possible | {least} | 1.0 | 0 % | 0 |\n");
        let outcome = Simulation::run(herd);
        text += &row("akv-init", &outcome);
        for (name, other) in [
            (
                "akv-init, where one response comes before the next request",
                Herd {
                    round_trip: Duration::ZERO,
                    ..herd
                },
            ),
            (
                "akv-init, where the vault answers `Retry-After: 10`",
                Herd {
                    retry_after: Some(Duration::from_secs(10)),
                    ..herd
                },
            ),
            (
                "each secret backs off for itself, 0.25 to 8 s but at least 1 s, deadline 120 s",
                Herd {
                    policy: Policy::EachSecret,
                    ..herd
                },
            ),
            (
                "the retries of the Azure SDK for Go (3), then a restart",
                Herd {
                    policy: Policy::GoSdk,
                    ..herd
                },
            ),
        ] {
            text += &run(name, other);
        }
        text.push('\n');
        let (took, ratio, restarts) = (outcome.all_up_after, outcome.ratio(), outcome.restarts);
        let is_met = took.as_secs() <= max_seconds && ratio <= max_ratio && restarts == 0;
        bars += &format!(
            "| {secrets} secrets: all up after at most {max_seconds} s, at most {max_ratio} requests for each that is needed, \
             no restart | {}, {ratio:.1}, {restarts} | {} |\n",
            seconds(took),
            if is_met { "PASS" } else { "FAIL" }
        );
    }
    text += &format!("| 10,000 pods with akv-init, 10 secrets each {COLUMNS}");
    text += &run("they start within 10 s", base);
    let slowly = Herd {
        starts_within: Duration::from_secs(300),
        ..base
    };
    text += &run("they start within 5 minutes", slowly);
    text += &run(
        "the ten values are in one secret",
        Herd { secrets: 1, ..base },
    );
    text += &run(
        "they are divided among four vaults",
        Herd { vaults: 4, ..base },
    );
    text += "\n| smaller herds, 100 runs each | least possible | all up after | the latest run | requests ÷ needed |\n\
             |---|---:|---:|---:|---:|\n";
    let second = Duration::from_secs(1);
    for (name, max_lateness, herd) in [
        (
            "1,000 pods start within 10 s, 10 secrets each",
            1.4,
            Herd {
                processes: 1_000,
                ..base
            },
        ),
        (
            "2,000 pods start within 1 s, 3 secrets each",
            1.6,
            Herd {
                processes: 2_000,
                secrets: 3,
                starts_within: second,
                ..base
            },
        ),
        (
            "1 pod, 10 secrets, a vault that throttles for 10 s",
            1.5,
            Herd {
                processes: 1,
                starts_throttled: true,
                ..base
            },
        ),
        (
            "60 pods start within 1 s, 3 secrets each, a vault that grants 40 requests in 2 s",
            1.5,
            Herd {
                processes: 60,
                secrets: 3,
                starts_within: second,
                limit: 40,
                window: 2 * second,
                ..base
            },
        ),
    ] {
        let mut runs: Vec<_> = (0..100)
            .map(|seed| Simulation::run(Herd { seed, ..herd }))
            .collect();
        runs.sort_by_key(|run| run.all_up_after);
        let [median, ninetieth, latest] = [49, 89, 99].map(|index| runs[index].all_up_after);
        let ratio = runs.iter().map(Outcome::ratio).fold(0.0, f64::max);
        let least = herd.least_possible();
        text += &format!(
            "| {name} | {} | {} | {} | {ratio:.1} |\n",
            seconds(least),
            seconds(median),
            seconds(latest)
        );
        let lateness = ninetieth.as_secs_f64() / least.as_secs_f64();
        let is_met = lateness <= max_lateness && ratio <= 2.5;
        bars += &format!(
            "| {name}: 90 of 100 runs take at most {max_lateness} times the least possible, and each at most 2.5 requests \
             for each that is needed | {lateness:.2}, {ratio:.1} | {} |\n",
            if is_met { "PASS" } else { "FAIL" }
        );
    }
    text += &format!("\n| bar | figures | |\n|---|---|---|\n{bars}");
    io::stdout().write_all(text.as_bytes())?;
    Ok(match bars.contains("FAIL") {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
