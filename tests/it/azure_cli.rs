//! The Azure CLI's sign-in, by a program of ours that is called `az`: how it is started, and what is made of all that
//! it can say. Only where it is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::azure::{Azure, Door, OTHER_TENANT, TENANT};
use crate::network::wire::{assert_got_it, connections};
use crate::support::{Run, akv_init, exec};
use crate::support_identities::{assert_token, with};

const ASKING: &str =
    "error: getting an access token from the Azure CLI (az account get-access-token)";
const SIGN_IN: &str = "hint: sign in by az login; az account show says whose sign-in there is";

/// Puts an `az` with this body alone onto a PATH, and gives that.
fn az(azure: &Azure, body: &str) -> PathBuf {
    let directory = azure.dir().join("bin");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("az");
    fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// An `az` that prints this.
fn az_says(azure: &Azure, said: &str) -> PathBuf {
    let file = azure.dir().join("az-says");
    fs::write(&file, said).unwrap();
    // A builtin, so that the PATH need hold nothing else.
    az(
        azure,
        &format!(
            "while IFS= read -r line || [ -n \"$line\" ]; do printf '%s\\n' \"$line\"; done <'{}'",
            file.display()
        ),
    )
}

fn good(azure: &Azure) -> String {
    format!(
        "{{\n  \"accessToken\": \"{}\",\n  \"expiresOn\": \"2030-01-02 03:04:05.000000\",\n  \"expires_on\": \
         2147385600,\n  \"subscription\": \"5ca1ab1e-0000-4000-8000-000000000001\",\n  \"tenant\": \"{TENANT}\",\n  \
         \"tokenType\": \"Bearer\"\n}}\n",
        azure.issue("https://vault.azure.net")
    )
}

fn token(path: &PathBuf, words: &[&str]) -> Run {
    akv_init(["token", "--identity", "cli"])
        .args(words)
        .env("PATH", path)
}

/// Z1: the number decides, not the text, which is local time.
#[test]
fn z1_the_token_and_its_expiry_are_read() {
    let azure = Azure::start();
    let path = az_says(&azure, &good(&azure));
    assert_token(&azure, &token(&path, &[]).outcome());
    let outcome = token(&path, &["--verbose"]).outcome();
    assert!(
        outcome
            .stderr
            .contains("good until 2038-01-18 00:00:00 UTC\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(azure.connections(Door::Login), 0);
}

#[test]
fn a_secret_is_read_with_it() {
    let azure = Azure::start();
    azure.secret("sql-sa", "pa$$w0rd of sa");
    let path = az_says(&azure, &good(&azure));
    let reference = format!("S=akv://{}/sql-sa", azure.vault());
    let run = exec(
        &azure,
        [
            "--identity",
            "cli",
            "--secret",
            &reference,
            "--",
            "/usr/bin/printenv",
            "S",
        ],
    );
    assert_got_it(&run.env("PATH", path).outcome());
    assert_eq!(azure.connections(Door::Imds), 0);
}

/// Directly, without a shell; with the environment that it needs to find its sign-in; with nothing to read.
#[test]
fn it_is_started_with_these_words_and_our_environment() {
    let azure = Azure::start();
    let record = azure.dir().join("record");
    let body = format!(
        "{{ for word in \"$0\" \"$@\"; do echo \"$word\"; done; echo \"config $AZURE_CONFIG_DIR\"; read line || echo \
         nothing; }} >'{0}'\necho '{{\"accessToken\":\"opaque\",\"expires_on\":2147385600}}'",
        record.display()
    );
    let path = az(&azure, &body);
    let base = [
        path.join("az").display().to_string(),
        "account".to_owned(),
        "get-access-token".to_owned(),
        "--output".to_owned(),
        "json".to_owned(),
        "--resource".to_owned(),
    ];
    let resource = "https://ossrdbms-aad.database.windows.net";
    for (words, tenant, more) in [
        (&[][..], "", &["https://vault.azure.net"][..]),
        (&[resource], "", &[resource]),
        (
            &[],
            TENANT,
            &["https://vault.azure.net", "--tenant", TENANT],
        ),
        (
            &[],
            "contoso.example.com",
            &["https://vault.azure.net", "--tenant", "contoso.example.com"],
        ),
    ] {
        let run = token(&path, words)
            .env("AZURE_CONFIG_DIR", "/somewhere/else")
            .env("AZURE_TENANT_ID", tenant);
        assert_eq!(run.outcome().stdout_alone(), "opaque");
        let mut expected = base.to_vec();
        expected.extend(more.iter().map(|&word| word.to_owned()));
        expected.extend(["config /somewhere/else".to_owned(), "nothing".to_owned()]);
        let said = fs::read_to_string(&record).unwrap();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    }
}

/// Where a vault names another tenant, az is asked for that one.
#[test]
fn a_vaults_tenant_is_asked_for() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    azure.secret("sql-sa", "value");
    let record = azure.dir().join("record");
    let path = az(
        &azure,
        &format!(
            "echo \"$@\" >>'{}'\necho '{{\"accessToken\":\"{}\",\"expires_on\":2147385600}}'",
            record.display(),
            azure.issue("https://vault.azure.net")
        ),
    );
    let reference = format!("S=akv://{}/sql-sa", azure.vault());
    let run = exec(
        &azure,
        [
            "--identity",
            "cli",
            "--secret",
            &reference,
            "--",
            "/usr/bin/printenv",
            "S",
        ],
    );
    let outcome = run.env("PATH", path).outcome();
    // Our az only has a token of the first tenant, so that it ends there.
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let asked = fs::read_to_string(record).unwrap();
    let words = "account get-access-token --output json --resource https://vault.azure.net";
    assert_eq!(asked, format!("{words}\n{words} --tenant {OTHER_TENANT}\n"));
}

/// Z2, and what else az says when there is no token.
#[test]
fn z2_what_az_says_is_the_error() {
    let azure = Azure::start();
    for (body, said) in [
        (
            "echo \"Please run 'az login' to setup account.\" >&2; exit 1",
            "Please run 'az login' to setup account.",
        ),
        (
            "echo \"ERROR: AADSTS70043: The refresh token has expired.\" >&2; echo more >&2; exit 1",
            "AADSTS70043: The refresh token has expired.",
        ),
        (
            "echo '{\"accessToken\":\"LEAK\"}'; echo sorry >&2; exit 3",
            "sorry",
        ),
    ] {
        let line = format!("{ASKING}: {said}");
        let line = line.trim_end_matches('.');
        token(&az(&azure, body), &[])
            .outcome()
            .failed(77, &[line, SIGN_IN]);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn an_az_that_says_nothing_or_is_killed_is_an_error_too() {
    let azure = Azure::start();
    for (body, said) in [
        ("exit 1", "az ended with exit code 1"),
        ("kill -KILL $$", "az was ended by signal 9"),
    ] {
        let outcome = token(&az(&azure, body), &[]).outcome();
        let line = format!("{ASKING}: {said}");
        outcome.failed(77, &[&line, SIGN_IN]);
    }
}

#[test]
fn without_az_there_is_no_sign_in() {
    let azure = Azure::start();
    let nowhere = azure.dir().join("nowhere");
    token(&nowhere, &[]).outcome().failed(
        78,
        &[
            &format!("{ASKING}: starting az: No such file or directory (os error 2)"),
            "hint: install the Azure CLI, or choose another --identity",
        ],
    );
    let path = az(&azure, "exit 0");
    fs::set_permissions(path.join("az"), fs::Permissions::from_mode(0o644)).unwrap();
    token(&path, &[]).outcome().failed(
        78,
        &[&format!(
            "{ASKING}: starting az: Permission denied (os error 13)"
        )],
    );
}

/// The text of a good answer that is cut, or of something else, is never shown.
#[test]
fn what_is_not_azs_answer_is_no_token_and_not_shown() {
    let azure = Azure::start();
    let whole = good(&azure);
    for said in [
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
        let outcome = token(&az_says(&azure, said), &[]).outcome();
        outcome.failed(76, &[&format!("{ASKING}: az printed no access token")]);
    }
}

/// Before az 2.54 there is only local time, which is not believed.
#[test]
fn an_older_az_without_the_number_is_good_enough() {
    let azure = Azure::start();
    let said = "{\"accessToken\":\"opaque\",\"expiresOn\":\"2030-01-02 03:04:05.000000\"}";
    let outcome = token(&az_says(&azure, said), &[]).outcome();
    assert_eq!(outcome.stdout_alone(), "opaque");
}

#[test]
fn an_az_that_never_ends_does_not_hold_us_past_the_deadline() {
    let azure = Azure::start();
    let fifo = azure.dir().join("never");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // It waits for a writer, and ends with the one that the test is.
    let path = az(&azure, &format!("read line <'{}'", fifo.display()));
    let outcome = token(&path, &["--timeout", "1"]).outcome();
    let line = "getting an access token from the Azure CLI (az account get-access-token) (1 try): no answer before \
                the deadline";
    assert_eq!((outcome.code, outcome.error()), (Some(69), Some(line)));
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
}

/// A tenant becomes a word of a command line.
#[test]
fn a_tenant_that_is_an_option_or_no_tenant_is_refused() {
    let azure = Azure::start();
    let path = az(&azure, "exit 7");
    for tenant in ["--debug", "-o", "a b", "a;b", "$(id)"] {
        let line = format!("error: AZURE_TENANT_ID: `{tenant}` is neither a GUID nor a domain");
        token(&path, &[])
            .env("AZURE_TENANT_ID", tenant)
            .outcome()
            .failed(78, &[&line]);
    }
}

/// It is never a way out when nothing else is there, and nothing else goes before it when it is named.
#[test]
fn it_is_used_where_it_is_named_and_nowhere_else() {
    let azure = Azure::start();
    let path = az_says(&azure, &good(&azure));
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
    assert_eq!(azure.requests_at(Door::Imds).len(), 1);
}
