//! The fields of one secret.

use super::{check, paths, reference, run, variables};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::exec;
use crate::support_files::Place;

fn azure(secret: &str) -> Azure {
    let azure = Azure::start();
    azure.secret("billing", secret);
    azure
}

/// What `exec` makes of a secret by a reference: the variables.
#[test]
fn fields_become_variables() {
    for (secret, rest, expected) in [
        (r#"{"A":"1","B":"2"}"#, "?prefix=APP_", "APP_A=1 APP_B=2"),
        (r#"{"A":"1","b2_":"x y"}"#, "?prefix=", "A=1 b2_=x y"),
        (r#" {"A":"1"} "#, "?prefix=P", "PA=1"),
        ("{}", "?prefix=APP_", ""),
        (r#"{"A":null}"#, "?prefix=APP_", ""),
        (
            r#"{"A":"","B":"é\u00e9"}"#,
            "?prefix=APP_",
            "APP_A= APP_B=éé",
        ),
        (r#"{"A":"1","A":"2"}"#, "?prefix=APP_", "APP_A=2"),
        (r#"{"A":"1","A":null}"#, "?prefix=APP_", ""),
        (r#"{"PATH":"x"}"#, "?prefix=APP_", "APP_PATH=x"),
        (r#"{"0":"x","_":"y"}"#, "?prefix=APP_", "APP_0=x APP__=y"),
        (r#"{"":"x"}"#, "?prefix=APP", "APP=x"),
        (r#"{"a":{"A":"1"},"b":[]}"#, "?prefix=APP_#/a", "APP_A=1"),
        (
            r#"[0,{"a/b":{"A":"1"}}]"#,
            "?prefix=APP_#/1/a~1b",
            "APP_A=1",
        ),
        (r#"{"a":{"A":"1"}}"#, "?optional&prefix=APP_#/b", ""),
        (r#"{"a":null}"#, "?prefix=APP_&optional#/a", ""),
        // Those of kvenv.
        (r#"{"abc":"abcd"}"#, "?prefix=", "abc=abcd"),
        (r#"{"abc123":12}"#, "?prefix=", "abc123=12"),
        (r#"{"ab_12_ab":false}"#, "?prefix=", "ab_12_ab=false"),
        (r#"{"abc":true}"#, "?prefix=", "abc=true"),
        (
            r#"{"abc":-5,"d":18446744073709551615}"#,
            "?prefix=",
            "abc=-5 d=18446744073709551615",
        ),
    ] {
        let azure = azure(secret);
        let outcome = run(&azure, &format!("akv://kv/billing{rest}")).outcome();
        assert_eq!(variables(&outcome), expected, "{secret} {rest}");
        assert_eq!(paths(&azure), ["/secrets/billing"]);
    }
}

/// A secret that `exec` refuses. No message holds the name of a field.
#[test]
fn what_no_variable_can_be_is_refused() {
    for (secret, rest, code, cause) in [
        (r#"["hunter2"]"#, "?prefix=APP_", 78, "config"),
        (r#""hunter2""#, "?prefix=APP_", 78, "config"),
        ("hunter2", "?prefix=APP_", 78, "config"),
        ("", "?prefix=APP_", 78, "config"),
        ("null", "?prefix=APP_&optional", 78, "config"),
        ("\u{feff}{}", "?prefix=APP_", 78, "config"),
        (r#"{"a-hunter2":"x"}"#, "?prefix=APP_", 78, "config"),
        (r#"{"hunter2":{"a":1}}"#, "?prefix=APP_", 78, "config"),
        (r#"{"hunter2":[1,2]}"#, "?prefix=APP_", 78, "config"),
        (r#"{"hunter2":12.123}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2":1e3}"#, "?prefix=", 78, "config"),
        (r#"{"":"hunter2"}"#, "?prefix=", 78, "config"),
        (r#"{"123hunter2":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2!":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2.a":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2=a":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2\u0000a":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2\na":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2é":"x"}"#, "?prefix=", 78, "config"),
        (r#"{"hunter2":"a\u0000b"}"#, "?prefix=APP_", 78, "config"),
        (r#"{"hunter2":"\ud800"}"#, "?prefix=APP_", 78, "config"),
        (r#"{"a":"hunter2"}"#, "?prefix=APP_#/a", 78, "config"),
        (r#"{"a":{"hunter2":[]}}"#, "?prefix=APP_#/a", 78, "config"),
        (r#"{"a":"hunter2"}"#, "?prefix=APP_#/b", 66, "not found"),
        (r#""hunter2""#, "?prefix=APP_#/b", 66, "not found"),
    ] {
        let azure = azure(secret);
        let failure = run(&azure, &format!("akv://kv/billing{rest}")).failure(code, cause);
        failure.omits("hunter2").names("billing");
        failure.fact("secret", "billing");
    }
}

#[test]
fn too_long_value_is_refused_without_its_name() {
    let azure = azure(&format!(r#"{{"hunter2":"{}"}}"#, "x".repeat(131_072)));
    let failure = run(&azure, "akv://kv/billing?prefix=").failure(78, "config");
    failure.omits("hunter2");
}

#[test]
fn too_many_fields_for_the_environment_are_refused_without_their_names() {
    let fields = (0..5_000).map(|number| format!("\"hunter2_{number}\":\"{}\"", "x".repeat(20)));
    let secret = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    let azure = azure(&secret);
    let from = reference(&azure, "akv://kv/billing?prefix=B_");
    let script = "ulimit -s 512 && exec \"$0\" \"$@\"";
    let run = crate::support::binary();
    let words = ["exec", "--from", &from, "/bin/true"];
    let run = exec(&azure, words[1..].iter()).with(|command| {
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        *command = std::process::Command::new("/bin/sh");
        command.env_clear().envs(environment);
        command.args(["-c", script]).arg(&run).args(words);
    });
    run.failure(78, "config").names("B_…").omits("hunter2");
}

#[test]
fn prefix_is_required_and_checked_before_any_request() {
    let azure = azure("{}");
    for text in [
        "akv://kv/billing",
        "akv://kv/*",
        "akv://kv/billing?optional#/a",
    ] {
        let failure = run(&azure, text).failure(64, "usage");
        failure.hint_names("prefix=APP_").hint_names("`prefix=`");
        let twin = exec(&azure, ["env"]).env("AKV_INIT_FROM", reference(&azure, text));
        twin.failure(64, "usage").hint_names("prefix=APP_");
    }
    for prefix in [
        "A=B", "A%3DB", "A%00B", "1A", "A-B", "A.B", "%20", "A%", "A{", "A B",
    ] {
        let text = format!("akv://kv/billing?prefix={prefix}");
        exec(&azure, ["--from", &reference(&azure, &text), "env"]).failure(78, "config");
    }
    assert_eq!(azure.requests().len(), 0);
}

#[test]
fn malformed_references_are_refused() {
    let azure = azure("{}");
    for text in [
        "billing",
        "billing?prefix=A",
        "https://kv/secrets/billing",
        "entra-token:https://vault.azure.net",
        "akv://kv/",
        "akv://kv",
        "akv://kv/a_b?prefix=A",
        "akv://kv/billing?prefix",
        "akv://kv/billing?prefix=A&prefix=B",
        "akv://kv/billing?prefix=A&",
        "akv://kv/billing?",
        "akv://kv/billing?prefix=A&trim",
        "akv://kv/billing?prefix=A&default=x",
        "akv://kv/billing?prefix=A&file",
        "akv://kv/billing?prefix=A&pem",
        "akv://kv/billing?prefix=A&decode=base64",
        "akv://kv/billing?prefix=A&optional=true",
        "akv://kv/billing?prefix=A&upper",
        "akv://kv/billing?prefix=A&tag=x",
        "akv://kv/billing?prefix=A#a",
        "akv://kv/billing?prefix=A#/~2",
        "akv://kv/billing?Prefix=A",
        "akv://kv/billing/3?prefix=A",
    ] {
        run(&azure, text).failure(78, "config").names("--from");
    }
    for option in ["prefix=A", "tag=A", "upper"] {
        let reference = reference(&azure, &format!("akv://kv/billing?{option}"));
        let failure = exec(&azure, ["env"])
            .env("S", reference)
            .failure(78, "config");
        failure.hint_names("--from");
    }
    assert_eq!(azure.requests().len(), 0);
}

#[test]
fn name_has_one_source() {
    let azure = azure(r#"{"A":"1"}"#);
    let from = "akv://kv/billing?prefix=APP_";
    let run = || run(&azure, from);
    let failure = run().env("APP_A", "hunter2").failure(78, "config");
    failure
        .names("APP_A")
        .hint_names("--override")
        .omits("hunter2");
    let outcome = run().env("APP_A", "").outcome();
    assert_eq!(variables(&outcome), "APP_A=1");
    let outcome = run()
        .env("APP_A", "value")
        .env("AKV_INIT_OVERRIDE", "1")
        .outcome();
    assert_eq!(variables(&outcome), "APP_A=1");
    // A target of the manifest, even with --override.
    let field = reference(&azure, "akv://kv/billing#/A");
    for overriding in ["0", "1"] {
        let run = || run().env("AKV_INIT_OVERRIDE", overriding);
        run()
            .env("APP_A", &field)
            .failure(78, "config")
            .names("APP_A");
        let secret = format!("--secret=APP_A={field}");
        let from = reference(&azure, from);
        let run = exec(&azure, [&secret, "--from", &from, "env"]);
        let run = run.env("AKV_INIT_OVERRIDE", overriding);
        run.failure(78, "config").names("APP_A");
    }
    for option in ["--unset", "--literal"] {
        let from = reference(&azure, from);
        let run = exec(
            &azure,
            [option, "APP_A", "--from", &from, "--override", "env"],
        );
        run.env("APP_A", "x").failure(78, "config").names("APP_A");
    }
    // The same object twice.
    let (one, two) = (
        reference(&azure, from),
        reference(&azure, "akv://kv/BILLING?prefix=APP_"),
    );
    let failure = exec(&azure, ["--from", &one, "--from", &two, "env"]).failure(78, "config");
    failure.omits("APP_A");
    let two = two.replace("APP_", "B_");
    let outcome = exec(&azure, ["--from", &one, "--from", &two, "env"]).outcome();
    assert_eq!(variables(&outcome), "APP_A=1 B_A=1");
}

#[test]
fn secret_is_requested_once() {
    let azure = azure(r#"{"A":"1","B":{"C":"2"}}"#);
    let outcome = run(&azure, "akv://kv/billing?prefix=APP_#/B")
        .env("S", reference(&azure, "akv://kv/Billing?encode=base64#/A"))
        .env("T", reference(&azure, "<{akv://kv/billing#/B/C}>"))
        .outcome();
    assert_eq!(variables(&outcome), "APP_C=2 S=MQ== T=<2>");
    assert_eq!(paths(&azure).len(), 1);
}

#[test]
fn missing_secret_is_an_error_unless_it_is_optional() {
    let azure = azure("{}");
    let failure = run(&azure, "akv://kv/absent?prefix=APP_").failure(66, "not found");
    failure.names("absent").names("APP_…");
    for (rest, named) in [
        ("absent?prefix=APP_&optional", "absent"),
        ("billing?optional&prefix=APP_#/a", "`/a`"),
    ] {
        let outcome = run(&azure, &format!("akv://kv/{rest}")).json().outcome();
        assert_eq!(variables(&outcome), "");
        let notes = outcome.lines_of("info");
        let note = notes[0]["message"].as_str().unwrap();
        assert!(
            note.starts_with("APP_…: ") && note.contains(named),
            "{note}"
        );
    }
    azure.next(Endpoint::Vault, Response::rbac());
    let failure = run(&azure, "akv://kv/absent?prefix=APP_&optional").failure(77, "denied");
    failure.hint_names("at the vault");
    // Another target needs the secret.
    let run = run(&azure, "akv://kv/absent?prefix=APP_&optional");
    run.env("S", reference(&azure, "akv://kv/absent#/a"))
        .failure(66, "not found");
}

/// One failure stops all, and each is said.
#[test]
fn failures_of_several_secrets_are_reported_together() {
    let azure = azure(r#"{"hunter2-x":"1"}"#);
    azure.secret("other", "no JSON");
    let run = run(&azure, "akv://kv/billing?prefix=APP_");
    let failure = run
        .env("S", reference(&azure, "akv://kv/other#/a"))
        .failure(78, "config");
    failure.names("billing").names("other").omits("hunter2");
}

#[test]
fn variable_holds_several_references() {
    let azure = azure(r#"{"A":"1"}"#);
    azure.secret("db", r#"{"user":"u"}"#);
    let text = " akv://kv/billing?prefix=APP_ \n\takv://kv/db?prefix=DB_ ";
    let run = exec(&azure, ["env"]).env(
        "AKV_INIT_FROM",
        text.replace("kv/", &format!("{}/", azure.vault())),
    );
    assert_eq!(variables(&run.outcome()), "APP_A=1 DB_user=u");
    // An option takes precedence.
    let run = super::run(&azure, "akv://kv/db?prefix=X_").env("AKV_INIT_FROM", "nonsense");
    assert_eq!(variables(&run.outcome()), "X_user=u");
    let run = super::run(&azure, "akv:///db?prefix=X_").env("AKV_INIT_VAULT", azure.vault());
    assert_eq!(variables(&run.outcome()), "X_user=u");
}

#[test]
fn write_makes_a_file_of_each_field() {
    for (secret, rest, tree) in [
        (
            r#"{"a-b":"x","C":1}"#,
            "",
            vec!["C 0440 \"1\"", "a-b 0440 \"x\""],
        ),
        (r#"{"a/b":"x"}"#, "", vec!["a/ 0750", "a/b 0440 \"x\""]),
        (
            r#"{"b":"x"}"#,
            "?prefix=db%2F",
            vec!["db/ 0750", "db/b 0440 \"x\""],
        ),
        (
            r#"{"LD_PRELOAD":"x\u0000y"}"#,
            "?prefix=",
            vec!["LD_PRELOAD 0440 \"x\\0y\""],
        ),
        ("{}", "", vec![]),
    ] {
        let azure = azure(secret);
        let place = Place::in_memory();
        let from = format!(
            "--from={}",
            reference(&azure, &format!("akv://kv/billing{rest}"))
        );
        place.wrote(&azure, &[&from]);
        assert_eq!(place.tree(), tree, "{secret} {rest}");
    }
    for (secret, rest) in [
        (r#"{"..hunter2":"1"}"#, ""),
        (r#"{"/hunter2":"1"}"#, ""),
        (r#"{"a/../hunter2":"1"}"#, ""),
        (r#"{"hunter2\n":"1"}"#, ""),
        (r#"{"":"hunter2"}"#, ""),
        (r#"{"hunter2":"1","hunter2/a":"2"}"#, ""),
        (r#"{"hunter2":[]}"#, ""),
        (r#"{"a":"1"}"#, "?prefix=.."),
        (r#"{"a":"1"}"#, "?prefix=%2Fx"),
    ] {
        let azure = azure(secret);
        let place = Place::in_memory();
        let from = format!(
            "--from={}",
            reference(&azure, &format!("akv://kv/billing{rest}"))
        );
        let failure = place.write(&azure, &[&from]).failure(78, "config");
        failure.omits("hunter2");
        assert!(place.tree().is_empty());
    }
}

#[test]
fn write_makes_a_key_of_each_field() {
    let secret = r#"{"B":"2","A":"1"}"#;
    for (output, rest, content) in [
        (
            "json",
            "",
            "{\n  \"c\": \"x\",\n  \"A\": \"1\",\n  \"B\": \"2\"\n}\n",
        ),
        ("dotenv", "?prefix=P_", "c='x'\nP_A='1'\nP_B='2'\n"),
        ("k8s-env", "?prefix=P_", "c='x'\nP_A='1'\nP_B='2'\n"),
    ] {
        let azure = azure(secret);
        azure.secret("c", "x");
        let place = Place::in_memory();
        let from = format!(
            "--from={}",
            reference(&azure, &format!("akv://kv/billing{rest}"))
        );
        let output = format!("--output={output}:all");
        place.wrote(&azure, &[&output, "--secret=c", &from]);
        assert_eq!(place.read("all"), content.as_bytes());
    }
    for (output, secret) in [
        ("dotenv", r#"{"hunter2-a":"1"}"#),
        ("dotenv", r#"{"hunter2":"\r"}"#),
        ("k8s-env", r#"{"1hunter2":"1"}"#),
        ("k8s-env", r#"{"hunter2":""}"#),
    ] {
        let azure = azure(secret);
        let place = Place::in_memory();
        let from = format!("--from={}", reference(&azure, "akv://kv/billing"));
        let output = format!("--output={output}:all");
        let failure = place.write(&azure, &[&output, &from]).failure(78, "config");
        failure.omits("hunter2");
    }
}

#[test]
fn write_has_one_source_for_a_file() {
    let azure = azure(r#"{"a":"1"}"#);
    let place = Place::in_memory();
    let from = format!("--from={}", reference(&azure, "akv://kv/billing"));
    let secret = format!("--secret=a={}", reference(&azure, "akv://kv/billing#/a"));
    place.write(&azure, &[&from, &secret]).failure(78, "config");
    let below = secret.replace("=a=", "=a/b=");
    place.write(&azure, &[&from, &below]).failure(78, "config");
    let output = "--output=json:a";
    let failure = place.write(&azure, &["--output=files", output, &from]);
    failure.failure(78, "config");
    let failure = place.write(&azure, &["--keep-existing", &from]);
    failure.failure(64, "usage").names("--keep-existing");
    assert!(place.tree().is_empty());
}

#[test]
fn plan_and_check_name_no_field() {
    let azure = azure(r#"{"hunter2":"1","n":2}"#);
    let from = reference(&azure, "akv://kv/billing?prefix=BILLING_&optional#/a");
    let outcome = exec(&azure, ["--dry-run", "--from", &from, "/bin/true"]).outcome();
    let url = format!("https://{}/secrets/billing", azure.vault());
    let expected =
        format!("each field of {url} at /a, as BILLING_… (resource https://vault.azure.net)");
    assert_eq!(outcome.planned("from"), [expected]);
    assert_eq!(outcome.planned("optional").len(), 1);
    assert_eq!(outcome.planned("secret").len(), 0);
    assert_eq!(azure.requests().len(), 0);
    for (text, code, shown) in [
        ("akv://kv/billing?prefix=B_", 0, "B_…"),
        (
            "akv://kv/billing?prefix=B_&optional#/a",
            0,
            "has no field `/a`",
        ),
        ("akv://kv/absent?prefix=B_&optional", 0, "not there"),
        ("akv://kv/absent?prefix=B_", 66, "absent"),
        ("akv://kv/billing?prefix=B_#/n", 78, "not a JSON object"),
        ("akv://kv/billing?prefix=1", 78, "prefix"),
    ] {
        let outcome = check(&azure, text);
        assert_eq!(outcome.code, Some(code), "{text}: {}", outcome.stdout);
        assert!(outcome.stdout.contains(shown), "{text}: {}", outcome.stdout);
        assert!(!outcome.stdout.contains("hunter2"), "{}", outcome.stdout);
    }
    assert_eq!(check(&azure, "akv://kv/billing").code, Some(64));
}
