//! The secrets of a vault, by the beginnings of their names and by tags.

use serde_json::json;

use super::{check, paths, reference, run, tagged, variables};
use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::{akv_init, exec};
use crate::support_files::Place;

fn azure() -> Azure {
    let azure = Azure::start();
    azure.put(tagged(
        "app-db-user",
        "u",
        json!({"team": "billing", "env": ""}),
    ));
    azure.put(tagged("App-db-password", "p", json!({"team": "shop"})));
    azure.put(tagged("apps", "s", json!({"a=b c": "é&"})));
    azure.secret("ConnectionStrings--Main", "cs");
    azure.put(Stored {
        enabled: false,
        ..Stored::new("app-disabled", "x")
    });
    azure.put(Stored {
        extra: json!({"managed": true}),
        ..Stored::new("app-certificate", "x")
    });
    azure
}

#[test]
fn secrets_become_variables() {
    let azure = azure();
    for (rest, expected) in [
        ("app-*?prefix=P_", "P_db_password=p P_db_user=u"),
        ("app-*?prefix=P_&upper", "P_DB_PASSWORD=p P_DB_USER=u"),
        ("APP-*?prefix=p_&upper", "p_DB_PASSWORD=p p_DB_USER=u"),
        ("app*?prefix=P", "P_db_password=p P_db_user=u Ps=s"),
        ("apps*?prefix=P", "P=s"),
        (
            "connectionstrings*?prefix=ConnectionStrings",
            "ConnectionStrings__Main=cs",
        ),
        (
            "*?prefix=",
            "App_db_password=p ConnectionStrings__Main=cs app_db_user=u apps=s",
        ),
        ("none*?prefix=", ""),
        ("app-db-user-and-more*?prefix=", ""),
        (
            "*?prefix=P_&tag=team",
            "P_App_db_password=p P_app_db_user=u",
        ),
        ("*?prefix=P_&tag=team=shop", "P_App_db_password=p"),
        ("app-*?tag=team=billing&prefix=P_&upper", "P_DB_USER=u"),
        ("*?prefix=P_&tag=env=", "P_app_db_user=u"),
        ("*?prefix=P_&tag=Team", ""),
        ("*?prefix=P_&tag=team=Shop", ""),
        ("*?prefix=P_&tag=a%3Db%20c=%C3%A9%26", "P_apps=s"),
        ("*?prefix=P_&tag=a=b%20c", ""),
    ] {
        let before = paths(&azure).len();
        let outcome = run(&azure, &format!("akv://kv/{rest}")).outcome();
        assert_eq!(variables(&outcome), expected, "{rest}");
        let read = expected.split_whitespace().count();
        assert_eq!(paths(&azure).len() - before, 1 + read, "{rest}");
    }
    let list = &azure.requests_at(Endpoint::Vault)[0];
    assert_eq!(list.query("maxresults").as_deref(), Some("25"));
}

#[test]
fn malformed_patterns_are_refused() {
    let azure = azure();
    for text in [
        "akv://kv/app-*?prefix=P&optional",
        "akv://kv/app-*?prefix=P#/a",
        "akv://kv/*app*?prefix=P",
        "akv://kv/**?prefix=P",
        "akv://kv/app-*/0123456789abcdef0123456789abcdef?prefix=P",
        "akv://kv/app_*?prefix=P",
        "akv://kv/a/b*?prefix=P",
        "akv://kv*?prefix=P",
        "akv://*?prefix=P",
        "akv://*/a?prefix=P",
        "akv://kv/*?prefix=P&tag",
        "akv://kv/*?prefix=P&tag=",
        "akv://kv/*?prefix=P&tag==x",
        "akv://kv/*?prefix=P&tag=a&tag=b",
        "akv://kv/*?prefix=P&tag=%zz",
        "akv://kv/*?prefix=P&upper=1",
        "akv://kv/*?prefix=P&upper&upper",
        "akv://kv/*?prefix=P&trim",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=*)",
    ] {
        run(&azure, text).failure(78, "config").names("--from");
    }
    let long = format!("akv://kv/{}*?prefix=P", "a".repeat(128));
    run(&azure, &long).failure(78, "config");
    // Elsewhere it is no reference.
    for text in ["akv://kv/*", "akv://kv/app-*"] {
        let run = exec(&azure, ["env"]).env("S", reference(&azure, text));
        run.failure(78, "config").hint_names("--from");
    }
    assert_eq!(azure.requests().len(), 0);
}

#[test]
fn names_that_become_one_are_refused() {
    let azure = azure();
    azure.secret("web-db-user", "w");
    let (one, two) = ("akv://kv/app-*?prefix=P_", "akv://kv/web-*?prefix=P_");
    let [one, two] = [one, two].map(|text| reference(&azure, text));
    let failure = exec(&azure, ["--from", &one, "--from", &two, "env"]).failure(78, "config");
    failure.names("`app-db-user`").names("`web-db-user`");
    // Before any of them is read.
    assert_eq!(paths(&azure), ["/secrets"]);
    let failure = run(&azure, "akv://kv/app-*?prefix=P_").env("P_db_user", "x");
    failure.failure(78, "config").names("P_db_user");
    let secret = reference(&azure, "akv://kv/apps");
    let failure = run(&azure, "akv://kv/app-*?prefix=P_").env("P_db_user", &secret);
    failure
        .failure(78, "config")
        .names("P_db_user")
        .names("`app-db-user`");
}

#[test]
fn name_that_no_variable_can_have_is_refused() {
    let azure = Azure::start();
    azure.secret("1password", "x");
    let failure = run(&azure, "akv://kv/*?prefix=").failure(78, "config");
    failure.names("1password");
    assert_eq!(
        variables(&run(&azure, "akv://kv/*?prefix=P").outcome()),
        "P1password=x"
    );
    let azure = Azure::start();
    azure.secret("ld-preload", "x");
    let failure = run(&azure, "akv://kv/*?prefix=&upper").failure(78, "config");
    failure.names("ld-preload").names("LD_PRELOAD");
    let azure = Azure::start();
    azure.secret("app", "x");
    run(&azure, "akv://kv/app*?prefix=")
        .failure(78, "config")
        .names("`app`");
}

/// The secret that a variable of the manifest names, too, is read once.
#[test]
fn listed_secret_is_requested_once() {
    let azure = azure();
    let outcome = run(&azure, "akv://kv/app-*?prefix=P_")
        .env("S", reference(&azure, "akv://kv/APP-DB-USER"))
        .outcome();
    assert_eq!(variables(&outcome), "P_db_password=p P_db_user=u S=u");
    assert_eq!(paths(&azure).len(), 3);
    // Two references to one vault share the list.
    let azure = self::azure();
    let [one, two] = ["akv://kv/app-*?prefix=P_", "akv://kv/*?tag=team&prefix=T_"]
        .map(|text| reference(&azure, text));
    let outcome = exec(&azure, ["--from", &one, "--from", &two, "env"]).outcome();
    assert_eq!(
        variables(&outcome),
        "P_db_password=p P_db_user=u T_App_db_password=p T_app_db_user=u"
    );
    assert_eq!(paths(&azure).len(), 3);
}

#[test]
fn denied_list_names_the_permission() {
    let azure = azure();
    for (response, named) in [
        (Response::rbac_list(), "secrets/readMetadata/action"),
        (Response::rbac_list(), "Key Vault Secrets User"),
        (
            Response::access_policy_list(),
            "--secret-permissions get list ",
        ),
    ] {
        azure.next(Endpoint::Vault, response);
        let failure = run(&azure, "akv://kv/app-*?prefix=P_").failure(77, "denied");
        failure.hint_names(named).names("P_…");
    }
    // A secret that may be listed, and not read.
    azure.next_for(
        Endpoint::Vault,
        "/secrets/App-db-password",
        Response::rbac(),
    );
    let failure = run(&azure, "akv://kv/app-*?prefix=P_").failure(77, "denied");
    failure.names("App-db-password");
}

#[test]
fn wait_for_access_covers_the_list() {
    let azure = azure();
    azure.next(Endpoint::Vault, Response::rbac_list());
    let outcome = run(&azure, "akv://kv/apps*?prefix=P")
        .env("AKV_INIT_WAIT_FOR_ACCESS", "30")
        .outcome();
    assert_eq!(variables(&outcome), "P=s");
}

/// The vault of an unknown cloud names the resource of the token.
#[test]
fn vault_that_names_its_resource_is_listed() {
    let azure = Azure::builder()
        .name("kv1.vault.example.com")
        .vault_resource("https://vault.example.com")
        .start();
    azure.secret("a", "1");
    let run = exec(
        &azure,
        ["--from", "akv://kv1.vault.example.com/*?prefix=P_", "env"],
    );
    let run = run
        .env("HTTPS_PROXY", azure.proxy())
        .without("AKV_INIT_ALLOW_VAULT");
    let outcome = run
        .without("SSL_CERT_FILE")
        .env("AKV_INIT_CA_FILE", azure.ca_file())
        .outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("P_a=1"));
    assert_eq!(paths(&azure), ["/secrets", "/secrets", "/secrets/a"]);
}

#[test]
fn write_makes_files_and_keys() {
    let azure = azure();
    let place = Place::in_memory();
    let from = format!("--from={}", reference(&azure, "akv://kv/app-*?prefix=p-"));
    place.wrote(&azure, &[&from]);
    assert_eq!(
        place.tree(),
        ["p-db_password 0440 \"p\"", "p-db_user 0440 \"u\""]
    );
    for (output, content) in [
        (
            "json",
            "{\n  \"db_password\": \"p\",\n  \"db_user\": \"u\"\n}\n",
        ),
        ("dotenv", "db_password='p'\ndb_user='u'\n"),
        ("k8s-env", "db_password='p'\ndb_user='u'\n"),
    ] {
        let place = Place::in_memory();
        let from = format!("--from={}", reference(&azure, "akv://kv/app-*"));
        place.wrote(&azure, &[&format!("--output={output}:f"), &from]);
        assert_eq!(place.read("f"), content.as_bytes());
    }
}

/// A set of files is that of the vault: what is no longer there goes.
#[test]
fn atomic_set_follows_the_vault() {
    let azure = azure();
    let place = Place::in_memory();
    let from = format!("--from={}", reference(&azure, "akv://kv/app-*"));
    let words = ["--layout=atomic", &from];
    place.wrote(&azure, &words);
    assert!(place.path("db_user").exists());
    azure.put(Stored {
        enabled: false,
        ..Stored::new("app-db-user", "u2")
    });
    azure.secret("app-new", "n");
    place.wrote(&azure, &words);
    assert!(!place.path("db_user").exists());
    assert_eq!(place.read("new"), b"n");
}

#[test]
fn plan_and_check_show_the_pattern() {
    let azure = azure();
    let dry_run = |text: &str| {
        let from = reference(&azure, text);
        let outcome = exec(&azure, ["--dry-run", "--from", &from, "/bin/true"]).outcome();
        let [line] = outcome.planned("from")[..] else {
            panic!("{}", outcome.stdout);
        };
        line.replace(&azure.vault(), "HOST")
    };
    let tail = "(resource https://vault.azure.net)";
    for (text, line) in [
        (
            "akv://kv/*?prefix=P_",
            "each secret of https://HOST, as P_…",
        ),
        (
            "akv://kv/app-*?prefix=P_&tag=team",
            "each secret of https://HOST that begins with app- and has the tag team, as P_…",
        ),
        (
            "akv://kv/*?prefix=&tag=team=x",
            "each secret of https://HOST that has the tag team=x, as …",
        ),
    ] {
        assert_eq!(dry_run(text), format!("{line} {tail}"));
    }
    let from = reference(&azure, "akv://kv/*?prefix=d%2F");
    let words = ["write", "--dry-run", "--from", &from];
    for (outputs, written) in [
        (&["/t"][..], &["/t/d/… (the secret value only, 0440)"][..]),
        (&["--output=json:j", "/t"], &["/t/j (json, 0440)"]),
    ] {
        let run = akv_init(words).args(outputs);
        let run = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds());
        let run = run.env("AKV_INIT_ALLOW_VAULT", azure.vault());
        assert_eq!(run.outcome().planned("write"), written);
    }
    assert_eq!(azure.requests().len(), 0);
    let outcome = check(&azure, "akv://kv/app-*?prefix=P_");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("2 secrets"), "{}", outcome.stdout);
    assert_eq!(paths(&azure).len(), 3);
    azure.next(Endpoint::Vault, Response::rbac_list());
    let outcome = check(&azure, "akv://kv/app-*?prefix=P_");
    assert_eq!(outcome.code, Some(77), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("readMetadata"),
        "{}",
        outcome.stdout
    );
    azure.next_for(
        Endpoint::Vault,
        "/secrets/App-db-password",
        Response::rbac(),
    );
    assert_eq!(check(&azure, "akv://kv/app-*?prefix=P_").code, Some(77));
    azure.secret("1", "x");
    let outcome = check(&azure, "akv://kv/*?prefix=");
    assert_eq!(outcome.code, Some(78), "{}", outcome.stdout);
}
