//! The exit codes, each by its real causes. 70 is a bug, so it has only a unit test.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::azure::{Azure, Certificate, Endpoint, Identity, Response, Stored};
use crate::support::{NO_OPTIONS, Run, akv_init, exec};
use crate::support_requests::{connections, one_secret, one_secret_federated};

/// Asserts that the run fails with this code and the cause that belongs to it.
#[track_caller]
fn assert_code(run: Run, code: i32) {
    let cause = match code {
        64 => "usage",
        66 => "not found",
        69 => "unavailable",
        76 => "protocol",
        77 => "denied",
        78 => "config",
        126 => "not executable",
        127 => "command not found",
        _ => panic!("no cause for {code}"),
    };
    run.failure(code, cause);
}

fn one_secret_named(azure: &Azure, options: &[&str], reference: &str) -> Run {
    let target = format!("S=akv://{}/{reference}", azure.vault());
    exec(azure, options).args(["--secret", &target, "--", "true"])
}

#[test]
fn exit_status_of_command_is_passed_on() {
    let azure = Azure::start();
    azure.secret("a", "value");
    let target = format!("S=akv://{}/a", azure.vault());
    for code in [0, 1, 64, 77, 127, 255] {
        let script = format!("exit {code}");
        let words = ["--secret", &target, "--", "/bin/sh", "-c", &script];
        let outcome = exec(&azure, words).outcome();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""));
    }
    let words = ["--secret", &target, "--", "/bin/sh", "-c", "kill -TERM $$"];
    let outcome = exec(&azure, words).outcome();
    assert_eq!(
        (outcome.signal, outcome.stderr.as_str()),
        (Some(Signal::SIGTERM as i32), "")
    );
}

#[test]
fn usage_is_64() {
    assert_code(akv_init(["exec", "--no-such-option", "--", "true"]), 64);
    assert_code(akv_init(["exec"]), 64);
    assert_code(akv_init(["exec", "--timeout", "soon", "--", "true"]), 64);
    assert_code(akv_init(["no-such-command"]), 64);
    assert_code(akv_init(NO_OPTIONS), 64);
}

#[test]
fn not_found_is_66() {
    let azure = Azure::start();
    azure.secret("a", "value");
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", "value")
    });
    assert_code(one_secret_named(&azure, &[], "missing"), 66);
    assert_code(
        one_secret_named(&azure, &[], "a/0123456789abcdef0123456789abcdef"),
        66,
    );
    assert_code(one_secret_named(&azure, &[], "disabled"), 66);
}

#[test]
fn unavailable_is_69() {
    let azure = Azure::start();
    let one_try = ["--timeout", "0"];
    // The deadline.
    azure.always(Endpoint::Vault, Response::usual().hold());
    assert_code(one_secret_named(&azure, &["--timeout", "1"], "a"), 69);
    azure.clear(Endpoint::Vault);
    // 429, 5xx, and connections that break.
    for answer in [
        Response::throttled(),
        Response::status(500),
        Response::status(503),
    ] {
        azure.next(Endpoint::Vault, answer);
        assert_code(one_secret_named(&azure, &one_try, "a"), 69);
    }
    azure.next(Endpoint::Imds, Response::fin());
    assert_code(one_secret_named(&azure, &one_try, "a"), 69);
    // DNS.
    let run = exec(&azure, one_try)
        .args(["--secret", "S=akv://vault.invalid/a", "--", "true"])
        .env("AKV_INIT_ALLOW_VAULT", "vault.invalid");
    assert_code(run, 69);
    // Closed ports.
    azure.close(Endpoint::Vault);
    assert_code(one_secret_named(&azure, &one_try, "a"), 69);
    azure.close(Endpoint::Login);
    assert_code(one_secret_federated(&azure, &one_try), 69);
    azure.close(Endpoint::Imds);
    assert_code(one_secret_named(&azure, &one_try, "a"), 69);
}

#[test]
fn protocol_is_76() {
    let azure = Azure::start();
    for endpoint in [Endpoint::Imds, Endpoint::Vault] {
        for answer in [
            Response::html(200, "<html>Please sign in</html>"),
            Response::redirect("https://sign-in.example.com/"),
            Response::garbage(),
            Response::endless(),
        ] {
            azure.next(endpoint, answer);
            assert_code(one_secret(&azure, &[]), 76);
        }
    }
    assert_code(one_secret(&azure, &[]).without("SSL_CERT_FILE"), 76);
    let azure = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::OtherName)
        .start();
    assert_code(one_secret(&azure, &[]), 76);
}

#[test]
fn denied_is_77() {
    let azure = Azure::start();
    for answer in [
        Response::rbac(),
        Response::access_policy(),
        Response::firewall(),
        Response::private_endpoint(),
        Response::akv10000(),
        Response::akv10032("11111111-2222-4333-8444-555555555555"),
    ] {
        azure.next(Endpoint::Vault, answer);
        assert_code(one_secret(&azure, &[]), 77);
    }
    // A token for another resource, which the fake Azure refuses by itself.
    let other = Azure::builder()
        .vault_resource("https://vault.stack.example.com")
        .start();
    assert_code(one_secret(&other, &[]), 77);
    // No identity is assigned, or several and none is selected.
    azure.identities(&[]);
    assert_code(one_secret(&azure, &[]), 77);
    azure.identities(&[Identity::user("one"), Identity::user("two")]);
    assert_code(one_secret(&azure, &[]), 77);
    // No federated credential matches.
    azure.assertion(&serde_json::json!({"sub": "system:serviceaccount:other:app"}));
    assert_code(one_secret_federated(&azure, &["--timeout", "0"]), 77);
}

#[test]
fn config_is_78() {
    let azure = Azure::start();
    let with = |name: &str, value: &str| one_secret(&azure, &[]).env(name, value);
    assert_code(with("T", "akv://prod-kv/sql_sa"), 78);
    assert_code(with("S", "another value"), 78);
    assert_code(with("AZURE_FEDERATED_TOKEN_FILE", "/no/such/file"), 78);
    assert_code(with("AKV_INIT_TIMEOUT", "soon"), 78);
    assert_code(with("SSL_CERT_FILE", "/no/such/file"), 78);
    assert_code(with("HTTPS_PROXY", "socks5://127.0.0.1:1"), 78);
    assert_code(with("KUBERNETES_SERVICE_HOST", "10.0.0.1"), 78);
    assert_code(with("AZURE_CLIENT_SECRET", "x"), 78);
    assert_eq!(connections(&azure), 0);
    // An unknown tenant.
    let run = one_secret_federated(&azure, &[]).env("AZURE_TENANT_ID", "other.example.com");
    assert_code(run, 78);
}

/// The first two are known before any request; the last one only to execve.
#[test]
fn not_executable_is_126() {
    let azure = Azure::start();
    azure.secret("a", "value");
    let file = azure.dir().join("file");
    fs::write(&file, "not a program\n").unwrap();
    let path = file.to_str().unwrap();
    let target = format!("S=akv://{}/a", azure.vault());
    let run = |command: &str| exec(&azure, ["--secret", &target, "--", command]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_code(run(path), 126);
    assert_code(run(azure.dir().to_str().unwrap()), 126);
    assert_eq!(connections(&azure), 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_code(run(path), 126);
}

#[test]
fn not_found_command_is_127() {
    let azure = Azure::start();
    let target = format!("S=akv://{}/a", azure.vault());
    for command in ["no-such-program", "/no/such/program", "./no-such-program"] {
        assert_code(exec(&azure, ["--secret", &target, "--", command]), 127);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn signal_during_the_fetch_is_128_and_its_number() {
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ] {
        let azure = Azure::start();
        azure.next(Endpoint::Imds, Response::usual().hold());
        let run = one_secret(&azure, &[]).json().spawn();
        azure.wait_for(Endpoint::Imds, 1);
        run.signal(signal);
        run.outcome().failure(128 + signal as i32, "signal");
    }
}
