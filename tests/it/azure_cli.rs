//! The Azure CLI's sign-in, with a program of the test that is called `az`: how it is started, and the result of everything
//! that it can print. It is used only where it is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use crate::azure::{Azure, Endpoint, OTHER_TENANT, TENANT};
use crate::support::{Run, akv_init, exec};
use crate::support_identities::{VAULT, assert_token, with};
use crate::support_inherited as inherited;
use crate::support_requests::connections;
use crate::support_scratch::write_program;

/// A PATH with an `az` that is this shell script.
fn az(azure: &Azure, body: &str) -> PathBuf {
    let directory = azure.dir().join("bin");
    fs::create_dir_all(&directory).unwrap();
    let script = format!("#!/bin/sh\n{body}\n");
    write_program(&directory.join("az"), script.as_bytes(), 0o755);
    directory
}

/// A PATH with an `az` that prints this. It needs nothing else on the PATH.
fn az_that_prints(azure: &Azure, text: &str) -> PathBuf {
    let file = azure.dir().join("printed");
    fs::write(&file, text).unwrap();
    let line = "while IFS= read -r line || [ -n \"$line\" ]; do printf '%s\\n' \"$line\"; done";
    az(azure, &format!("{line} <'{}'", file.display()))
}

fn good(azure: &Azure) -> String {
    let token = azure.issue(VAULT);
    format!(
        "{{\n  \"accessToken\": \"{token}\",\n  \"expiresOn\": \"2030-01-02 03:04:05.000000\",\n  \
         \"expires_on\": 2147385600,\n  \"subscription\": \"5ca1ab1e-0000-4000-8000-000000000001\",\n  \
         \"tenant\": \"{TENANT}\",\n  \"tokenType\": \"Bearer\"\n}}\n"
    )
}

fn token(path: &Path, words: &[&str]) -> Run {
    let run = akv_init(["token", "--identity", "cli"]).args(words);
    run.env("PATH", path)
}

/// A run that reads one secret with the sign-in.
fn exec_with_cli(azure: &Azure, path: &Path) -> Run {
    azure.secret("sql-sa", "value");
    let reference = format!("S=akv://{}/sql-sa", azure.vault());
    let words = ["--identity", "cli", "--secret", &reference];
    let run = exec(azure, words).args(["--", "/usr/bin/printenv", "S"]);
    run.env("PATH", path)
}

/// `expiresOn` is local time and is not used.
#[test]
fn token_and_expiry_are_read_from_the_json() {
    let azure = Azure::start();
    let path = az_that_prints(&azure, &good(&azure));
    assert_token(&azure, &token(&path, &[]).outcome());
    let outcome = token(&path, &["--verbose"]).json().outcome();
    let lines = outcome.lines_of("debug");
    let found = lines.iter().find(|line| line["resource"] == VAULT);
    assert_eq!(found.unwrap()["expires"], "2038-01-18 00:00:00 UTC");
    assert_eq!(azure.connections(Endpoint::Login), 0);
}

#[test]
fn secret_is_read_with_the_token() {
    let azure = Azure::start();
    let path = az_that_prints(&azure, &good(&azure));
    let outcome = exec_with_cli(&azure, &path).outcome();
    assert_eq!(outcome.stdout_alone(), "value\n");
    assert_eq!(azure.connections(Endpoint::Imds), 0);
}

/// Without a shell, with the environment that it needs to find its sign-in, and with an empty standard input.
#[test]
fn az_is_started_with_these_arguments_and_the_environment() {
    let azure = Azure::start();
    let record = azure.dir().join("record");
    let body = format!(
        "{{ for word in \"$0\" \"$@\"; do echo \"$word\"; done; echo \"config $AZURE_CONFIG_DIR\"; read line || echo \
         nothing; }} >'{0}'\necho '{{\"accessToken\":\"opaque\",\"expires_on\":2147385600}}'",
        record.display()
    );
    let path = az(&azure, &body);
    let program = path.join("az").display().to_string();
    let base = [
        &program,
        "account",
        "get-access-token",
        "--output",
        "json",
        "--resource",
    ];
    let resource = "https://ossrdbms-aad.database.windows.net";
    let domain = "contoso.example.com";
    for (words, tenant, more) in [
        (&[][..], "", &[VAULT][..]),
        (&[resource], "", &[resource]),
        (&[], TENANT, &[VAULT, "--tenant", TENANT]),
        (&[], domain, &[VAULT, "--tenant", domain]),
    ] {
        let run = token(&path, words)
            .env("AZURE_CONFIG_DIR", "/somewhere/else")
            .env("AZURE_TENANT_ID", tenant);
        assert_eq!(run.outcome().stdout_alone(), "opaque");
        let recorded = fs::read_to_string(&record).unwrap();
        let end = ["config /somewhere/else", "nothing"];
        let expected = [&base[..], more, &end].concat();
        assert_eq!(recorded.lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn tenant_that_the_vault_names_is_requested() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    let record = azure.dir().join("record");
    let token = azure.issue(VAULT);
    let body = format!(
        "echo \"$@\" >>'{}'\necho '{{\"accessToken\":\"{token}\",\"expires_on\":2147385600}}'",
        record.display()
    );
    // This az has only a token of the first tenant.
    exec_with_cli(&azure, &az(&azure, &body)).failure(77, "denied");
    let words = "account get-access-token --output json --resource https://vault.azure.net";
    let expected = format!("{words}\n{words} --tenant {OTHER_TENANT}\n");
    assert_eq!(fs::read_to_string(record).unwrap(), expected);
}

#[test]
fn first_line_of_the_error_output_is_the_error() {
    let azure = Azure::start();
    for (body, named) in [
        (
            "echo \"Please run 'az login' to setup account.\" >&2; exit 1",
            "Please run 'az login' to setup account",
        ),
        (
            "echo \"ERROR: AADSTS70043: The refresh token has expired.\" >&2; echo LEAK >&2; exit 1",
            "AADSTS70043: The refresh token has expired",
        ),
        (
            "echo '{\"accessToken\":\"LEAK\"}'; echo sorry >&2; exit 3",
            "sorry",
        ),
        ("exit 1", "1"),
        ("kill -KILL $$", "9"),
    ] {
        let failure = token(&az(&azure, body), &[]).failure(77, "denied");
        failure.names(named).hinted().omits("LEAK");
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn az_that_cannot_be_started_is_a_configuration_error() {
    let azure = Azure::start();
    let missing = azure.dir().join("nowhere");
    token(&missing, &[]).failure(78, "config").hinted();
    let path = az(&azure, "exit 0");
    fs::set_permissions(path.join("az"), fs::Permissions::from_mode(0o644)).unwrap();
    token(&path, &[]).failure(78, "config").unhinted();
}

#[test]
fn output_that_is_not_a_token_is_rejected_and_not_shown() {
    let azure = Azure::start();
    let whole = good(&azure);
    for text in [
        "",
        "LEAK",
        &whole[..whole.len() / 2],
        "<html>LEAK</html>",
        "[]",
        "{\"accessToken\":null}",
        "{\"accessToken\":\"\",\"expires_on\":2147385600}",
        "{\"accessToken\":5,\"expires_on\":2147385600}",
        "{\"accessToken\":\"LEAK\\nX: 1\",\"expires_on\":2147385600}",
        "\"LEAK\"",
    ] {
        let failure = token(&az_that_prints(&azure, text), &[]).failure(76, "protocol");
        failure.omits("LEAK");
        for token in azure.tokens() {
            failure.omits(&token[..24]);
        }
    }
}

/// Without a limit, it would fill the memory until the deadline.
#[test]
fn output_without_an_end_is_not_read_to_its_end() {
    let azure = Azure::start();
    let limited = |body: &str| {
        let run = token(&az(&azure, &format!("PATH=/usr/bin:/bin\n{body}")), &[]);
        run.with(|command| inherited::limit(command, Resource::RLIMIT_AS, 1 << 29, 1 << 29))
    };
    limited("exec yes LEAK")
        .failure(76, "protocol")
        .omits("LEAK");
    let failure = limited("exec yes 'ERROR: sorry' >&2").failure(77, "denied");
    failure.names("sorry");
}

/// Before az 2.54 there is only local time.
#[test]
fn token_without_expires_on_is_accepted() {
    let azure = Azure::start();
    let text = "{\"accessToken\":\"opaque\",\"expiresOn\":\"2030-01-02 03:04:05.000000\"}";
    let outcome = token(&az_that_prints(&azure, text), &[]).outcome();
    assert_eq!(outcome.stdout_alone(), "opaque");
}

/// An `az` that starts a child: a PATH with it, and the FIFO into which it writes the ids of both. `redirection` is of
/// the child's output, and `last` is what `az` does then.
fn az_with_child(azure: &Azure, redirection: &str, last: &str) -> (PathBuf, PathBuf) {
    let fifo = azure.dir().join("started");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let started = fifo.display();
    let body = format!("/bin/sleep 60 {redirection} &\necho $$ $! >'{started}'\n{last}");
    (az(azure, &body), fifo)
}

/// An `az` that never ends, nor does its child.
fn az_that_hangs(azure: &Azure) -> (PathBuf, PathBuf) {
    az_with_child(azure, "", "wait")
}

/// Waits until each process has ended.
#[track_caller]
fn assert_ended(ids: &str) {
    for id in ids.split_whitespace() {
        let process = PathBuf::from(format!("/proc/{id}/stat"));
        let deadline = Instant::now() + Duration::from_secs(5);
        // A zombie is ended; in a container it may have no parent that waits for it.
        while fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(Instant::now() < deadline, "process {id} has not ended");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn az_is_killed_with_its_children_at_the_deadline() {
    let azure = Azure::start();
    let (path, fifo) = az_that_hangs(&azure);
    let ids = thread::spawn(move || fs::read_to_string(fifo).unwrap());
    token(&path, &["--timeout", "2"]).failure(69, "unavailable");
    assert_ended(&ids.join().unwrap());
}

#[test]
fn child_that_holds_the_error_output_is_killed_at_the_deadline() {
    let azure = Azure::start();
    let (path, fifo) = az_with_child(&azure, ">/dev/null", "exit 1");
    let ids = thread::spawn(move || fs::read_to_string(fifo).unwrap());
    token(&path, &["--timeout", "2"]).failure(69, "unavailable");
    assert_ended(&ids.join().unwrap());
}

#[test]
fn az_is_killed_with_its_children_when_a_signal_ends_the_wait() {
    let azure = Azure::start();
    let (path, fifo) = az_that_hangs(&azure);
    let run = token(&path, &[]).spawn();
    let ids = fs::read_to_string(fifo).unwrap();
    run.signal(Signal::SIGTERM);
    assert_eq!(run.outcome().code, Some(143));
    assert_ended(&ids);
}

/// The tenant becomes an argument of `az`.
#[test]
fn tenant_that_is_not_a_guid_or_a_domain_is_rejected() {
    let azure = Azure::start();
    let path = az(&azure, "exit 7");
    for tenant in ["--debug", "-o", "a b", "a;b", "$(id)"] {
        let run = token(&path, &[]).env("AZURE_TENANT_ID", tenant);
        let failure = run.failure(78, "config");
        failure.names("AZURE_TENANT_ID").omits(tenant);
    }
}

#[test]
fn az_is_used_where_it_is_named_and_nowhere_else() {
    let azure = Azure::start();
    let path = az_that_prints(&azure, &good(&azure));
    let everything = [
        azure.workload_environment(),
        azure.secret_environment(),
        azure.app_service_environment(),
    ]
    .concat();
    assert_token(&azure, &with(token(&path, &[]), &everything).outcome());
    for variables in [
        &[("AKV_INIT_IDENTITY", "cli")][..],
        &[("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")],
        &[("AZURE_TOKEN_CREDENTIALS", "dev")],
    ] {
        let run = with(akv_init(["token"]).env("PATH", &path), variables);
        assert_token(&azure, &run.outcome());
    }
    assert_eq!(connections(&azure), 0);
    let run = akv_init(["token"])
        .env("PATH", &path)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds());
    assert_token(&azure, &run.outcome());
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 1);
}
