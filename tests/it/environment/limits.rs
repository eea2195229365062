//! What an environment cannot hold: NUL, a string over the kernel's limit, a total over the limit. The error names the
//! target, the limit and the total, not the value or its length.

use nix::sys::resource::Resource;

use super::{environ, value};
use crate::azure::Azure;
use crate::support::{Outcome, akv_init, exec};
use crate::support_inherited as inherited;

/// For one `NAME=VALUE` with its NUL (execve(2)).
const STRING_LIMIT: usize = 131_072;

#[test]
fn value_with_a_nul_is_refused() {
    let azure = Azure::start();
    azure.secret("sa", "hunter2\0hunter3");
    let run = exec(&azure, ["/bin/true"]).env("S", format!("akv://{}/sa", azure.vault()));
    let failure = run.failure(78, "config");
    failure.names("S").hinted().omits("hunter");
}

#[test]
fn value_over_the_limit_for_one_variable_is_refused() {
    let azure = Azure::start();
    let reference = format!("akv://{}/sa", azure.vault());
    let longest = "x".repeat(STRING_LIMIT - "TARGET=".len() - 1);
    azure.secret("sa", &longest);
    let run = exec(&azure, super::NONE).env("TARGET", &reference);
    assert!(
        value(run, "TARGET") == longest,
        "the value is not what the vault has"
    );
    azure.secret("sa", &format!("{longest}x"));
    let run = exec(&azure, ["/bin/true"]).env("TARGET", &reference);
    let failure = run.failure(78, "config");
    failure.names("TARGET").names(&STRING_LIMIT.to_string());
    // The name counts too; what `?trim` removes does not.
    let run = exec(&azure, ["/bin/true"]).env("TARGET", "");
    let run = run.env("TARGE", &reference);
    assert_eq!(run.outcome().stdout_alone(), "");
    azure.secret("sa", &format!("{longest}\n\n"));
    let run = exec(&azure, super::NONE).env("TARGET", format!("{reference}?trim"));
    assert!(
        value(run, "TARGET") == longest,
        "the value is not what the vault has"
    );
}

/// Two secrets that together are so many bytes, for a command with a small stack. In all it is
/// `total_of(command, sizes)`.
fn with_small_stack(azure: &Azure, command: &[&str], sizes: [usize; 2]) -> Outcome {
    azure.secret("a", &"x".repeat(sizes[0]));
    azure.secret("b", &"y".repeat(sizes[1]));
    let vault = azure.vault();
    let run = exec(azure, ["--secret", &format!("B=akv://{vault}/b"), "--"]).args(command);
    let run = run.env("A", format!("akv://{vault}/a"));
    // A quarter of the stack is for arguments and environment, and never less than 128 KiB.
    run.with(|command| inherited::limit(command, Resource::RLIMIT_STACK, 400 << 10, 1 << 30))
        .json()
        .outcome()
}

/// Each argument and entry with its NUL and its pointer, and what the kernel adds: the path (twice for a script), the
/// script's first line, the last pointer.
fn total_of(azure: &Azure, command: &[&str], sizes: [usize; 2]) -> usize {
    let entries = [
        format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={}", azure.imds()).len(),
        format!("SSL_CERT_FILE={}", azure.ca_file().display()).len(),
        "A=".len() + sizes[0],
        "B=".len() + sizes[1],
    ];
    let strings = command.iter().map(|word| word.len()).chain(entries);
    let ours: usize = strings.map(|length| length + 1 + size_of::<usize>()).sum();
    ours + 2 * (command[0].len() + 1) + 256 + size_of::<usize>()
}

#[test]
fn total_over_the_limit_is_refused_with_both_numbers() {
    let azure = Azure::start();
    let command = ["/bin/true", "--help"];
    let sizes = [70_000, 70_000];
    let total = total_of(&azure, &command, sizes);
    let outcome = with_small_stack(&azure, &command, sizes);
    let failure = outcome.failure(78, "config");
    failure.names("A, B").names(&total.to_string());
    failure.names(&STRING_LIMIT.to_string()).hinted();
}

#[test]
fn largest_accepted_total_is_accepted_by_the_kernel() {
    // The largest total that works and the smallest one that is refused are one byte apart: none is left to the
    // kernel's E2BIG.
    let azure = Azure::start();
    let command = ["/bin/true"];
    let rest = total_of(&azure, &command, [0, 0]);
    let mut works = 1;
    let mut fails = STRING_LIMIT;
    while fails - works > 1 {
        let middle = (works + fails) / 2;
        let outcome = with_small_stack(&azure, &command, [middle - rest.min(middle), 0]);
        match outcome.code {
            Some(0) => works = middle,
            _ => {
                assert_eq!(outcome.code, Some(78), "{outcome:?}");
                fails = middle;
            }
        }
    }
    // The kernel itself adds no more than a path, an interpreter and a few pointers.
    assert!(works > STRING_LIMIT - 8192, "{works}");
}

#[test]
fn default_stack_limit_allows_megabytes() {
    let azure = Azure::start();
    let big = "x".repeat(100_000);
    let mut run = exec(&azure, super::NONE);
    run = run.with(|command| inherited::limit(command, Resource::RLIMIT_STACK, 8 << 20, 1 << 30));
    for number in 0..15 {
        azure.secret(&format!("s{number}"), &big);
        run = run.env(
            format!("S{number}"),
            format!("akv://{}/s{number}", azure.vault()),
        );
    }
    let entries = environ(run);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry.len() > big.len())
            .count(),
        15
    );
}

#[test]
fn environment_without_secrets_is_not_measured() {
    let long = "x".repeat(100_000);
    let run = akv_init(["exec", "/bin/true"])
        .env("LONG", &long)
        .with(|command| {
            inherited::limit(command, Resource::RLIMIT_STACK, 400 << 10, 1 << 30);
        });
    assert_eq!(run.outcome().stdout_alone(), "");
}
