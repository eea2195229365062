//! The environment of COMMAND: the caller's, entry by entry, with references replaced and `--secret` added; or an error
//! that names the target and the limit and never the value.

mod limits;
mod refusals;
mod warnings;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::azure::{Azure, Endpoint, Stored};
use crate::support::{Run, akv_init, exec};
use crate::support_inherited as inherited;

/// Prints the entries of its `environ` as they are, each with a NUL behind it.
const ENV: [&str; 2] = ["/usr/bin/env", "-0"];

/// No words.
const NONE: [&str; 0] = [];

/// The entries that COMMAND received, in order; standard error is empty.
#[track_caller]
fn environ(run: Run) -> Vec<OsString> {
    found(run.args(ENV))
}

/// The same where its caller had exactly these entries.
#[track_caller]
fn environ_of(run: Run, entries: &[impl AsRef<OsStr>]) -> Vec<OsString> {
    let run = run.args(ENV);
    found(run.with(|command| inherited::environ(command, entries)))
}

#[track_caller]
fn found(run: Run) -> Vec<OsString> {
    let mut running = run.spawn();
    let mut bytes = Vec::new();
    let stdout = running.child_mut().stdout.take();
    let mut stdout = stdout.expect("standard output is a pipe");
    stdout.read_to_end(&mut bytes).expect("a pipe can be read");
    let outcome = running.outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let mut entries: Vec<OsString> = bytes
        .split(|byte| *byte == 0)
        .map(|entry| OsStr::from_bytes(entry).to_owned())
        .collect();
    assert_eq!(
        entries.pop(),
        Some(OsString::new()),
        "a NUL ends the last entry"
    );
    entries
}

/// The value of one variable that COMMAND received.
#[track_caller]
fn value(run: Run, name: &str) -> String {
    let entries = environ(run);
    let mut values = entries
        .iter()
        .filter_map(|entry| entry.to_str()?.strip_prefix(name)?.strip_prefix('='));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no {name} in {entries:?}"));
    assert_eq!(values.next(), None, "{name} occurs twice");
    value.to_owned()
}

/// The settings that lead to the fake Azure and that COMMAND inherits.
fn endpoints(azure: &Azure) -> [String; 2] {
    [
        format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={}", azure.imds()),
        format!("SSL_CERT_FILE={}", azure.ca_file().display()),
    ]
}

#[test]
fn references_are_replaced_and_targets_are_added() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    azure.secret("api", "k=e=y");
    let vault = azure.vault();
    let [imds, ca] = endpoints(&azure);
    let entries = [
        "ZONE=eu".to_owned(),
        format!("AKV_INIT_ALLOW_VAULT={vault}"),
        format!("MSSQL_SA_PASSWORD=akv://{vault}/sa"),
        imds.clone(),
        "EMPTY=".to_owned(),
        "AKV_INIT_TIMEOUT=30".to_owned(),
        "DROPPED=1".to_owned(),
        ca.clone(),
        "AKV_INIT_VAULT=".to_owned(),
        format!("API= akv://{vault}/api \n"),
        "TARGET=".to_owned(),
        "AKV_INITIAL=is not ours".to_owned(),
        "PATH=/bin:/usr/bin".to_owned(),
    ];
    let added = format!("ADDED=akv://{vault}/api");
    let target = format!("TARGET=akv://{vault}/sa");
    let options = [
        "exec", "--unset", "DROPPED", "--unset", "ABSENT", "--secret", &added, "--secret", &target,
    ];
    let expected = [
        "ZONE=eu",
        "MSSQL_SA_PASSWORD=s3cret",
        &imds,
        "EMPTY=",
        &ca,
        "API=k=e=y",
        "TARGET=s3cret",
        "AKV_INITIAL=is not ours",
        "PATH=/bin:/usr/bin",
        "ADDED=k=e=y",
    ];
    assert_eq!(environ_of(akv_init(options), &entries), expected);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 2);
}

#[test]
fn entries_of_the_caller_are_kept_byte_for_byte() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let entries_of_all_kinds: [&[u8]; 12] = [
        b"BINARY=\xff\xfe\x80",
        b"\xc3\x28=a name that is not UTF-8",
        b"my-app.host%1=dashes and dots",
        b" =",
        b"=C:=C:\\work",
        b"=",
        b"==",
        b"no equals sign at all",
        b"",
        b"LINES=one\ntwo\n",
        b"TWICE=1",
        b"TWICE=2",
    ];
    let entries_of_all_kinds = entries_of_all_kinds.map(|entry| OsString::from_vec(entry.to_vec()));
    for secret in [false, true] {
        let mut entries: Vec<OsString> = endpoints(&azure).map(OsString::from).to_vec();
        entries.extend(entries_of_all_kinds.clone());
        let mut expected = entries.clone();
        if secret {
            entries.push(format!("AKV_INIT_ALLOW_VAULT={}", azure.vault()).into());
            entries.push(format!("S=akv://{}/sa", azure.vault()).into());
            expected.push("S=s3cret".into());
        }
        assert_eq!(environ_of(akv_init(["exec"]), &entries), expected);
    }
}

#[test]
fn variable_of_any_name_can_be_a_reference() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    for name in [&b"my-app.password"[..], b"1ST", b"\xff\xfe", b"=C:"] {
        let mut entries: Vec<OsString> = endpoints(&azure).map(OsString::from).to_vec();
        let mut expected = entries.clone();
        entries.push(format!("AKV_INIT_ALLOW_VAULT={}", azure.vault()).into());
        let entry = |value: &str| OsString::from_vec([name, b"=", value.as_bytes()].concat());
        entries.push(entry(&format!("akv://{}/sa", azure.vault())));
        expected.push(entry("s3cret"));
        let run = akv_init(["exec"]);
        assert_eq!(environ_of(run, &entries), expected);
    }
}

#[test]
fn value_is_passed_on_unchanged() {
    let azure = Azure::start();
    let values = [
        "",
        " ",
        "=",
        "two\nlines",
        "\r\n in front",
        "trailing blank ",
        "\u{1}\u{7f}\u{2028}\u{feff}pässwörd🔑",
        "$(HOME) `id` \"quotes\" 'and' \\n",
        "akv://kv1/other",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=other)",
    ];
    for expected in values {
        azure.secret("sa", expected);
        let run = exec(&azure, NONE).env("S", format!("akv://{}/sa", azure.vault()));
        assert_eq!(value(run, "S"), expected);
    }
}

#[test]
fn empty_variable_is_not_a_conflict() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let secret = format!("S=akv://{}/sa", azure.vault());
    let run = exec(&azure, ["--secret", &secret]).env("S", "");
    assert_eq!(value(run, "S"), "s3cret");
}

#[test]
fn override_replaces_all_entries_of_the_name() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let vault = azure.vault();
    let [imds, ca] = endpoints(&azure);
    let allow = format!("AKV_INIT_ALLOW_VAULT={vault}");
    let entries = ["A=1", "S=old", &imds, "S=older", &ca, &allow, "Z=2"];
    let secret = format!("S=akv://{vault}/sa");
    let run = akv_init(["exec", "--override", "--secret", &secret]);
    let expected = ["A=1", "S=s3cret", &imds, &ca, "Z=2"];
    assert_eq!(environ_of(run, &entries), expected);
}

#[test]
fn unset_removes_all_entries_of_the_name_and_costs_no_request() {
    let azure = Azure::start();
    let [imds, _] = endpoints(&azure);
    let entries = ["A=1", "S=old", &imds, "S=akv://kv1/sa", "SS=3"];
    let run = akv_init(["exec", "--unset", "S"]);
    assert_eq!(environ_of(run, &entries), ["A=1", &imds, "SS=3"]);
    assert_eq!(azure.connections(Endpoint::Imds), 0);
}

#[test]
fn literal_reference_is_passed_on_and_costs_no_request() {
    let azure = Azure::start();
    let [imds, _] = endpoints(&azure);
    let entries = [
        "A=akv://kv1/sa",
        "B=see akv://kv1/sa",
        &imds,
        "C=sa@azurekeyvault",
    ];
    let options = ["exec", "--literal", "A", "--literal", "B", "--literal=C"];
    assert_eq!(environ_of(akv_init(options), &entries), entries);
    assert_eq!(azure.connections(Endpoint::Imds), 0);
    // A variable that is not set is probably misspelt.
    let run = akv_init(["exec", "--literal", "ABSENT", "/bin/true"]);
    let outcome = run.json().outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
    let warnings = outcome.lines_of("warning");
    assert_eq!(warnings.len(), 1, "{}", outcome.stderr);
    assert!(warnings[0]["message"].as_str().unwrap().contains("ABSENT"));
}

#[test]
fn trim_removes_only_final_line_ends() {
    let azure = Azure::start();
    azure.secret("sa", "\n two\r\nlines \t\r\n\n\r");
    let run = exec(&azure, NONE).env("S", format!("akv://{}/sa?trim", azure.vault()));
    assert_eq!(value(run, "S"), "\n two\r\nlines \t");
}

#[test]
fn one_secret_for_several_variables_costs_one_request() {
    let azure = Azure::start();
    let stored = Stored::new("sql-sa", "s3cret");
    let version = stored.version.clone();
    azure.put(stored);
    let vault = azure.vault();
    let run = exec(
        &azure,
        [
            "--vault", &vault, "--secret", "A=sql-sa", "--secret", "B=SQL-SA",
        ],
    );
    let run = run
        .env("C", format!("akv://{}/sql-SA", vault.to_uppercase()))
        .env("D", "akv:///sql-sa?trim")
        .env(
            "E",
            format!("@Microsoft.KeyVault(SecretUri=https://{vault}/secrets/Sql-Sa/)"),
        );
    let entries = environ(run);
    let secrets = entries
        .iter()
        .filter(|entry| entry.as_bytes().ends_with(b"=s3cret"));
    assert_eq!(secrets.count(), 5, "{entries:?}");
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 1);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
    // A named version is another request, even if it is the current one.
    let run = exec(&azure, ["--vault", &vault, "--secret", "A=sql-sa"]);
    let run = run.args(["--secret", &format!("B=sql-sa/{version}")]);
    assert_eq!(value(run, "B"), "s3cret");
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 2);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 3);
}
