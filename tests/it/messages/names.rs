//! Name resolution, in a network with only a name server of the test.

use std::fs;
use std::process::Command;

use super::book::Page;
use crate::azure::{APPLICATION, Azure, TENANT};
use crate::support::{Run, Running, akv_init};
use crate::support_namespaces::{Answering, with_a_name_server};
use crate::support_scratch::Scratch;

/// No such name, except below a domain of the search list.
fn unknown(packet: &mut [u8; 512], length: usize) -> usize {
    const IN_SEARCH_LIST: &[u8] = b"\x06search\x07example";
    // An A record with an address of this machine, of the name in the question.
    const ADDRESS: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x02";
    let found = packet
        .windows(IN_SEARCH_LIST.len())
        .any(|part| part == IN_SEARCH_LIST);
    let wants_v4 = packet[length - 4..length] == [0, 1, 0, 1];
    match (found, wants_v4) {
        (true, true) => {
            packet[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            packet[length..][..ADDRESS.len()].copy_from_slice(ADDRESS);
            length + ADDRESS.len()
        }
        (true, false) => respond(packet, length, 0),
        (false, _) => respond(packet, length, 3),
    }
}

/// The server's own failure (SERVFAIL).
fn failing(packet: &mut [u8; 512], length: usize) -> usize {
    respond(packet, length, 2)
}

/// No response.
fn silent(_: &mut [u8; 512], _: usize) -> usize {
    0
}

/// No record, for this reason (RFC 1035, 4.1.1).
fn respond(packet: &mut [u8; 512], length: usize, code: u8) -> usize {
    packet[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    length
}

/// The files that configure name resolution.
struct Files {
    scratch: Scratch,
}

impl Files {
    fn new(resolver: &str) -> Files {
        let scratch = Scratch::new();
        for (name, text) in [
            ("hosts", "127.0.0.1 localhost\n"),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("resolv.conf", resolver),
        ] {
            fs::write(scratch.path(name), text).expect("it is ours");
        }
        Files { scratch }
    }

    fn among(&self, run: Run, answering: Answering) -> Run {
        let files: Vec<(String, String)> = ["hosts", "nsswitch.conf", "resolv.conf"]
            .into_iter()
            .map(|name| (self.scratch.path(name), format!("/etc/{name}")))
            // C libraries differ in which of them they use.
            .filter(|(_, to)| fs::exists(to).is_ok_and(|there| there))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(from, to)| (&**from, &**to)).collect();
        run.with(|command: &mut Command| with_a_name_server(command, &files, answering))
    }
}

/// With the sign-in of the Azure CLI, which needs no name; and with Entra's.
pub fn names(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let program = Scratch::new();
    let token = format!(
        "#!/bin/sh\necho '{{\"accessToken\":\"{}\"}}'\n",
        azure.issue("x")
    );
    program.file("az", token.as_bytes(), 0o755);
    let run_with = |vault: &str, command: &str, words: &[&str]| {
        let secret = format!("--secret=DB_PASSWORD=akv://{vault}/sql-sa");
        akv_init([command, &secret])
            .args(words)
            .args(["--", "/bin/true"])
            .env("PATH", &program.0)
            .env("AZURE_TENANT_ID", TENANT)
            .env("AZURE_CLIENT_ID", APPLICATION)
            .env("AZURE_FEDERATED_TOKEN_FILE", azure.token_file())
    };
    let run = |command: &str, words: &[&str]| run_with("prod-kv", command, words);
    let files = Files::new("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let searching = Files::new("nameserver 127.0.0.1\nsearch search.example\noptions ndots:5\n");
    let proxy = |run: Run| run.env("HTTPS_PROXY", "http://proxy.example.com:3128");
    let mut runs = Vec::new();
    for answering in [unknown as Answering, failing] {
        for run in [
            run("exec", &["--timeout=0", "--identity=cli"]),
            run("exec", &["--timeout=0"]),
            proxy(run("exec", &["--timeout=0"])),
            proxy(run("check", &[])),
            run("check", &[]),
        ] {
            runs.push(files.among(run, answering));
        }
    }
    // The second one has an address, where nothing listens.
    for vault in ["kv.corp.example", "kv.search.example"] {
        let run = run_with(vault, "exec", &["--timeout=0", "--identity=cli"]);
        runs.push(files.among(run, unknown));
    }
    let imds = run("check", &[]).without("AZURE_FEDERATED_TOKEN_FILE").env(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "http://imds.example.com",
    );
    runs.push(files.among(imds, unknown));
    runs.push(searching.among(run("check", &[]), silent));
    let run_cli = run("exec", &["--timeout=0", "--identity=cli"]);
    runs.push(searching.among(run_cli, unknown));
    for format in ["--format=text", "--format=json"] {
        let run = run("check", &[format, "--identity=cli"]);
        runs.push(searching.among(run, unknown));
    }
    // Some C libraries take seconds for each: all at once.
    let running: Vec<Running> = runs.into_iter().map(Run::spawn).collect();
    for running in running {
        page.record_both(running.outcome());
    }
}
