//! References that cannot be meant: each is refused before any request, with its own message, wherever it stands.

use super::dry_run;

/// The error and the hint of a reference in a variable and behind `--secret`, which are the same.
#[track_caller]
fn refused(text: &str, subject: &str, why: &str, hint: Option<&str>) {
    let error = format!("error: S: malformed reference `{subject}`: {why}");
    let hint = hint.map(|hint| format!("hint: {hint}"));
    let lines: Vec<&str> = [Some(error.as_str()), hint.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    dry_run(&[]).env("S", text).outcome().failed(78, &lines);
    refused_option(
        text,
        subject,
        why,
        hint.as_deref().map(|hint| &hint["hint: ".len()..]),
    );
}

/// The same behind `--secret` only.
#[track_caller]
fn refused_option(text: &str, subject: &str, why: &str, hint: Option<&str>) {
    let error = format!("error: S: malformed reference `{subject}`: {why}");
    let hint = hint.map(|hint| format!("hint: {hint}"));
    let lines: Vec<&str> = [Some(error.as_str()), hint.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let secret = format!("S={text}");
    dry_run(&["--vault", "kv1", "--secret", &secret])
        .outcome()
        .failed(78, &lines);
}

#[test]
fn a_managed_hsm_holds_no_secrets() {
    for suffix in ["azure.net", "usgovcloudapi.net", "azure.cn"] {
        let text = format!("akv://hsm1.managedhsm.{suffix}/sa");
        let why = "a Managed HSM holds keys, not secrets";
        refused(&text, &text, why, Some("name a Key Vault"));
    }
    refused(
        "@Microsoft.KeyVault(SecretUri=https://hsm1.managedhsm.azure.net/secrets/sa)",
        "@Microsoft.KeyVault(…",
        "a Managed HSM holds keys, not secrets",
        Some("name a Key Vault"),
    );
    refused_option(
        "https://hsm1.managedhsm.azure.net/secrets/sa",
        "https://hsm1.managedhsm.azure.net/secrets/sa",
        "a Managed HSM holds keys, not secrets",
        Some("name a Key Vault"),
    );
}

#[test]
fn a_private_links_name_is_refused_with_the_host_to_use() {
    for (domain, suffix) in [
        ("azure.net", "vault.azure.net"),
        ("usgovcloudapi.net", "vault.usgovcloudapi.net"),
        ("azure.cn", "vault.azure.cn"),
    ] {
        for zone in ["privatelink.vaultcore", "vaultcore"] {
            let text = format!("akv://kv1.{zone}.{domain}/sa");
            let hint = format!("use kv1.{suffix}; private DNS leads it to the private endpoint");
            let why = "no vault answers under its private link's name";
            refused(&text, &text, why, Some(&hint));
        }
    }
}

#[test]
fn a_name_that_key_vault_cannot_have_is_refused() {
    refused(
        "akv://kv1/SQL_PASSWORD",
        "akv://kv1/SQL_PASSWORD",
        r#"Key Vault names cannot hold "_"; is it "SQL-PASSWORD"?"#,
        None,
    );
    refused(
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sql.sa_2)",
        "@Microsoft.KeyVault(…",
        r#"Key Vault names cannot hold "."; is it "sql-sa-2"?"#,
        None,
    );
    refused_option(
        "SQL_PASSWORD",
        "SQL_PASSWORD",
        r#"Key Vault names cannot hold "_"; is it "SQL-PASSWORD"?"#,
        None,
    );
    refused(
        "akv://kv1/a b",
        "akv://kv1/a…",
        r#"Key Vault names cannot hold " ""#,
        None,
    );
    refused(
        "akv://kv1/a%20b",
        "akv://kv1/a…",
        r#"Key Vault names cannot hold "%""#,
        None,
    );
    refused(
        "akv://kv1/ä",
        "akv://kv1/…",
        r#"Key Vault names cannot hold "ä""#,
        None,
    );
    let long = "a".repeat(128);
    let text = format!("akv://kv1/{long}");
    refused(
        &text,
        &text,
        "a secret's name has at most 127 characters",
        None,
    );
}

#[test]
fn a_reference_without_a_name_is_refused() {
    let hint = Some("write akv://VAULT/NAME");
    refused(
        "akv://kv1",
        "akv://kv1",
        "the secret's name is missing",
        hint,
    );
    refused("akv://", "akv://", "the secret's name is missing", hint);
    refused(
        "akv://kv1/",
        "akv://kv1/",
        "the secret's name is empty",
        None,
    );
    refused(
        "akv://kv1//",
        "akv://kv1//",
        "the secret's name is empty",
        None,
    );
    refused_option("", "", "the secret's name is empty", None);
}

#[test]
fn what_follows_the_name_is_one_version() {
    let why = "what follows the secret's name is not one version";
    for text in ["akv://kv1/a/b/c", "akv://kv1/a//"] {
        refused(text, text, why, None);
    }
    let why = "a version holds only letters and digits";
    refused("akv://kv1/a/b-c", "akv://kv1/a/b-c", why, None);
    refused("akv://kv1/a/latest_1", "akv://kv1/a/latest_1", why, None);
    // Behind a bare name it is taken for a version only where it must be one: people mean a vault and a name.
    let why = "what follows NAME/ is not a version of 32 hexadecimal digits";
    let hint = "for a vault and a name, write akv://kv1/sa";
    refused_option("kv1/sa", "kv1/sa", why, Some(hint));
    let almost = "sa/0123456789abcdef0123456789abcdeg";
    let hint = format!("for a vault and a name, write akv://{almost}");
    refused_option(almost, almost, why, Some(&hint));
}

#[test]
fn only_trim_is_an_option() {
    let why = "the only option behind `?` is `trim`";
    for options in [
        "",
        "Trim",
        "trim=1",
        "trim&",
        "trim&version=1",
        "api-version=7.4",
    ] {
        refused(
            &format!("akv://kv1/sa?{options}"),
            "akv://kv1/sa…",
            why,
            None,
        );
    }
}

#[test]
fn plain_http_is_refused() {
    refused_option(
        "http://kv1.vault.azure.net/secrets/sa",
        "http://kv1.vault.azure.net/secrets/sa",
        "a vault is only asked over https",
        Some("write https://"),
    );
    refused(
        "@Microsoft.KeyVault(SecretUri=http://kv1.vault.azure.net/secrets/sa)",
        "@Microsoft.KeyVault(…",
        "SecretUri must start with https://",
        None,
    );
}

#[test]
fn another_kind_of_url_is_refused() {
    refused_option(
        "vault://kv1/sa",
        "vault://kv1/sa",
        "a reference starts with akv://, https:// or @Microsoft.KeyVault(",
        None,
    );
    let why = "a secret's URL is https://HOST/secrets/NAME[/VERSION]";
    for text in [
        "https://kv1.vault.azure.net",
        "https://kv1.vault.azure.net/sa",
        "https://kv1.vault.azure.net/keys/sa",
    ] {
        refused_option(text, text, why, None);
    }
    refused_option(
        "https://kv1/secrets/sa",
        "https://kv1/secrets/sa",
        "this is a short name, not a host",
        None,
    );
}

#[test]
fn a_vault_that_cannot_be_is_refused() {
    let why =
        "a vault's name has 3 to 24 letters, digits and single hyphens, and starts with a letter";
    for vault in [
        "ab",
        "1ab",
        "-ab",
        "ab-",
        "a--b",
        "a_b",
        "a234567890123456789012345",
    ] {
        let text = format!("akv://{vault}/sa");
        refused(&text, &text, why, None);
    }
    for host in [
        "vault.azure.net",
        "ab.vault.azure.net",
        "a.b.vault.azure.net",
        "a--b.vault.azure.cn",
    ] {
        let text = format!("akv://{host}/sa");
        let why = format!(
            "`{host}` is not a vault: its name has 3 to 24 letters, digits and single hyphens"
        );
        refused(&text, &text, &why, None);
    }
    for (port, shown) in [
        ("0", ":0/sa"),
        ("65536", ":65536/sa"),
        ("port", "…"),
        ("", ":/sa"),
        ("-1", "…"),
    ] {
        let text = format!("akv://kv1.vault.azure.net:{port}/sa");
        let subject = format!("akv://kv1.vault.azure.net{shown}");
        let why = "the port is not a number from 1 to 65535";
        refused(&text, &subject, why, None);
    }
}

/// Nor does it get one for a vault of Azure's by another name: tests of the challenge show what it does get.
#[test]
fn a_host_that_is_not_key_vaults_must_name_a_resource_of_its_own() {
    for (host, shown) in [
        ("vault.example.com", "vault.example.com"),
        (
            "kv1.vault.azure.net.example.com",
            "kv1.vault.azure.net.example.com",
        ),
        ("kv1.vault.azure.net:8443", "kv1.vault.azure.net:8443"),
        ("KV1.vault.azure.com:443", "kv1.vault.azure.com"),
        ("169.254.169.254", "169.254.169.254"),
        ("localhost:443", "localhost"),
    ] {
        let text = format!("akv://{host}/sa");
        let line =
            format!("secret    S <- https://{shown}/secrets/sa (resource that it names itself)");
        let outcome = dry_run(&[]).env("S", &text).outcome();
        assert_eq!(outcome.stdout_alone().lines().nth(1), Some(line.as_str()));
    }
    // Another port of a host that was named is another server.
    let run = dry_run(&["--allow-vault", "vault.example.com:8443"]);
    let outcome = run.env("S", "akv://vault.example.com/sa").outcome();
    let line =
        "secret    S <- https://vault.example.com/secrets/sa (resource that it names itself)";
    assert_eq!(outcome.stdout_alone().lines().nth(1), Some(line));
}

#[test]
fn a_broken_app_service_reference_is_refused() {
    let cases = [
        (
            "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa",
            "the closing parenthesis is missing",
        ),
        (
            "@Microsoft.KeyVault()",
            "it needs SecretUri alone, or VaultName and SecretName",
        ),
        (
            "@Microsoft.KeyVault(VaultName=kv1)",
            "it needs SecretUri alone, or VaultName and SecretName",
        ),
        (
            "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/sa;SecretName=sa)",
            "it needs SecretUri alone, or VaultName and SecretName",
        ),
        ("@Microsoft.KeyVault(kv1;sa)", "a part without `=`"),
        (
            "@Microsoft.KeyVault(VaultName=kv1;SecretName=a;SecretName=b)",
            "a part stands twice",
        ),
        (
            "@Microsoft.KeyVault(Vault=kv1;Secret=a)",
            "the parts are SecretUri, or VaultName, SecretName and SecretVersion",
        ),
        (
            "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/keys/sa)",
            "a secret's URL is https://HOST/secrets/NAME[/VERSION]",
        ),
    ];
    for (text, why) in cases {
        refused(text, "@Microsoft.KeyVault(…", why, None);
    }
}
