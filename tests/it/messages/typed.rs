//! Errors of the command line, settings and references.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::book::Page;
use crate::support::{Run, akv_init};
use crate::support_inherited as inherited;

/// Not UTF-8.
fn not_utf8() -> &'static OsStr {
    OsStr::from_bytes(b"\xff")
}

/// A dry run of `exec`.
fn dry(words: &[&str]) -> Run {
    akv_init(["exec", "--dry-run"])
        .args(words)
        .args(["--", "/bin/true"])
}

pub fn command_line(page: &mut Page) {
    let runs: [&[&str]; 51] = [
        &[],
        &["--init", "exec", "true"],
        &["exec", "--drain", "5s", "true"],
        &["exec", "--init", "child", "--", "true"],
        &["exec", "--init=everybody", "true"],
        &["write", "--from-env", "--keep-existing", "12h", "/secrets"],
        &["exec", "--bogus"],
        &["exec", "--valt", "kv1", "true"],
        &["exce", "true"],
        &["/app/server"],
        &["write", "--memfd"],
        &["exec", "--verbose=yes"],
        &["exec", "--timeout"],
        &["exec", "--timeout=1", "--timeout=2", "true"],
        &["install", "/shared", "--verbose"],
        &["install", "/shared", "/other"],
        &["write", "--from-env"],
        &["write", "/secrets"],
        &["write", "--secret", "a=b", "--literal", "A", "/secrets"],
        &["get"],
        &["token", "--scope", "https://vault.azure.net"],
        &["token", "--scope", "https://vault.azure.net/.default", "x"],
        &["token", "https://vault.azure.net/.default"],
        &["token", "-"],
        &["token", "a resource"],
        &["exec", "--secret", "DB_PASSWORD", "true"],
        &["exec", "--memfd", "DB_PASSWORD", "true"],
        &["write", "--secret", "pass_word", "/secrets"],
        &["exec", "--timeout", "soon", "true"],
        &["exec", "--identity", "system", "true"],
        &["exec", "--cloud", "AzureCloud", "true"],
        &["exec", "--log-format", "yaml", "true"],
        &["check", "--format", "yaml"],
        &["write", "--output", "yaml:x", "--from-env", "/secrets"],
        &["write", "--output", "json:/x", "--from-env", "/secrets"],
        &["write", "--layout", "flat", "--from-env", "/secrets"],
        &["write", "--mode", "rw", "--from-env", "/secrets"],
        &["write", "--keep-existing=ever", "--from-env", "/secrets"],
        &["write", "--every=30s", "--from-env", "/secrets"],
        &[
            "write",
            "--every=1h",
            "--keep-existing",
            "--from-env",
            "/secrets",
        ],
        &["exec", "--vault", "prod_kv", "true"],
        &["exec", "--vault", "http://prod-kv", "true"],
        &["exec", "--vault", "kv1.vault.azure.net:0", "true"],
        &["exec", "--allow-vault", "https://vault.example.com", "true"],
        &["exec", "--client-id", "a", "--object-id", "b", "true"],
        &["exec", "--client-id", "my-identity", "true"],
        &["exec", "--resource-id", "my-identity", "true"],
        &["frobnicate"],
        &["exec"],
        // These have hints of their own.
        &["exec", "--vault", "kv1.managedhsm.azure.net", "true"],
        &["get", "akv://kv1"],
    ];
    for words in runs {
        page.run(akv_init(words));
    }
    for words in [&["get"][..], &["token"], &["token", "--client-id"]] {
        page.run(akv_init(words).args([not_utf8()]));
    }
}

pub fn settings(page: &mut Page) {
    for (name, value) in [
        ("AKV_INIT_TIMEOUT", "soon"),
        ("AKV_INIT_IDENTITY", "system"),
        ("AKV_INIT_CLOUD", "AzureCloud"),
        ("AKV_INIT_LOG_FORMAT", "yaml"),
        ("AKV_INIT_OVERRIDE", "yes"),
        ("AKV_INIT_VAULT", "prod_kv"),
        ("AKV_INIT_ALLOW_VAULT", "https://vault.example.com"),
        ("AKV_INIT_TIMOUT", "5m"),
        ("AKV_INIT_REGION", "westeurope"),
        ("AKV_INIT_VAULT_RESOURCE", "https://vault.example.com"),
        ("AKV_INIT_INIT", "yes"),
        ("AKV_INIT_DRAIN", "9"),
        ("AKV_INIT_LITERAL", "DB_PASWORD"),
    ] {
        page.run(dry(&[]).env(name, value));
    }
    page.run(dry(&["--cloud=usgov"]).env("AZURE_AUTHORITY_HOST", "login.microsoftonline.com"));
    page.run(dry(&[]).env("AZURE_CLIENT_SECRET", "\"a\""));
    page.run(dry(&[]).env("AKV_INIT_TIMEOUT", not_utf8()));
    page.run(dry(&["--verbose"]).env("STORE", "op://vault/item/field"));
    page.run(dry(&["--literal", "DB_PASWORD"]).env("DB_PASSWORD", "secret"));
    let both = dry(&[]).env("AKV_INIT_CLIENT_ID", "a");
    page.run(both.env("AKV_INIT_OBJECT_ID", "b"));
}

/// In a variable, and most of them also behind `--secret`.
pub fn references(page: &mut Page) {
    page.replace(&"x".repeat(128), "xxxxxxxx…");
    let long = format!("akv://kv1/{}", "x".repeat(128));
    for text in [
        "akv://kv1/",
        "akv://kv1/sql_sa",
        "akv://kv1/sql sa",
        &long,
        "akv://kv1/sql-sa/v-1",
        "akv://kv1/sql-sa/1/2",
        "akv://kv1/sql-sa?upper",
        "akv://kv1/sql-sa?trim&trim",
        "akv://kv1/sql-sa?decode=base32",
        "akv://kv1/sql-sa?pem=crt",
        "akv://kv1/sql-sa?pem#/tls.crt",
        "akv://kv1/sql-sa?optional&default=none",
        "Server={akv://kv1/server?optional}",
        "Server={akv://kv1/server?file}",
        "akv://kv1/sql-sa#password",
        "akv://kv1/sql-sa#/a b",
        "akv://kv1/sql-sa#/100%",
        "akv://kv1/sql-sa#/%FF",
        "akv://kv1/sql-sa#/~user",
        "akv://ab/sql-sa",
        "akv://a.b.vault.azure.net/sql-sa",
        "akv://kv1.vault.azure.net:0/sql-sa",
        "akv://-.example.com/sql-sa",
        "@Microsoft.KeyVault(VaultName=kv1",
        "@Microsoft.KeyVault(VaultName=kv1)",
        "@Microsoft.KeyVault(SecretUri=http://kv1.vault.azure.net/secrets/sql-sa)",
        "entra-token:a resource",
        "akv://kv1",
        "akv://kv1/secrets/sql-sa",
        "akv://kv1/certificates/tls",
        "akv://kv1/keys/tls",
        "akv://https://kv1.vault.azure.net/secrets/sql-sa",
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/secrets/sql-sa)",
        "\"akv://kv1/sql-sa\"",
        "akv://$(VAULT)/sql-sa",
        "akv:/kv1/sql-sa",
        "akv://kv1.managedhsm.azure.net/sql-sa",
        "akv://kv1.privatelink.vaultcore.azure.net/sql-sa",
        "entra-token:",
        "entra-token:https://vault.azure.net/.default",
        "Server=db;Password=akv://kv1/sql-sa",
        "Server=db;Password=${akv://kv1/sql-sa}",
        "Server=db;Password={akv://kv1/sql-sa",
        "Server=db;Password={akv://kv1/sql-sa};User=akv://kv1/user",
        "Server=db;Password={akv://kv1/sql-sa?upper}",
        "sql-sa@azurekeyvault?tls.crt",
        "keyvaultref:https://kv1.vault.azure.net/secrets/sql-sa,identityref:system",
        "ref+azurekeyvault:///sql-sa",
        "ref+azurekeyvault://kv1/sql-sa?trim",
        "Password=ref+azurekeyvault://kv1/sql-sa+;",
        "akv:///sql-sa",
    ] {
        page.run(dry(&[]).env("DB_PASSWORD", text));
    }
    for text in [
        "vault://kv1/sql-sa",
        "https://kv1/secrets/sql-sa",
        "https://kv1.vault.azure.net/keys/sql-sa",
        "http://kv1.vault.azure.net/secrets/sql-sa",
        "kv1/sql-sa",
        "sql-sa?trim#/password",
        "sql-sa/",
    ] {
        page.run(dry(&["--secret", &format!("DB_PASSWORD={text}")]));
    }
    page.run(dry(&[]).env("DB_PASSWORD", OsStr::from_bytes(b"akv://kv1/sql-sa#/\xff")));
}

pub fn variables(page: &mut Page) {
    const SECRET: &str = "DB_PASSWORD=akv://kv1/sql-sa";
    for name in ["db password", "LD_PRELOAD", "AKV_INIT_SECRET"] {
        page.run(dry(&["--secret", &format!("{name}=akv://kv1/sql-sa")]));
    }
    page.run(dry(&["--secret", SECRET, "--memfd", SECRET]));
    page.run(dry(&["--secret", SECRET, "--unset", "DB_PASSWORD"]));
    page.run(dry(&["--secret", SECRET, "--literal", "DB_PASSWORD"]));
    page.run(dry(&["--secret", SECRET]).env("DB_PASSWORD", "secret"));
    page.run(dry(&["--secret", SECRET]).env("DB_PASSWORD", "akv://kv1/sql-sa"));
    page.run(dry(&[]).env("BASH_ENV", "akv://kv1/sql-sa"));
    page.run(dry(&[]).env("POSTGRES_PASSWORD_FILE", "akv://kv1/sql-sa"));
    page.run(dry(&[]).with(|command| inherited::environ(command, &[SECRET, "DB_PASSWORD=x"])));
}

/// Of `write`.
pub fn files(page: &mut Page) {
    let write = |words: &[&str]| {
        akv_init(["write", "--dry-run"])
            .args(words)
            .args(["/secrets"])
    };
    let (name, path) = ("x".repeat(256), "x/".repeat(2_048) + "x");
    page.replace(&name[..255], "xxxxxxxx");
    page.replace(&path[..255], "x/x/x/x");
    for name in ["/a", "a//b", "./a", "a/..", "a\tb", &name, &path] {
        page.run(write(&["--secret", &format!("{name}=akv://kv1/sql-sa")]));
    }
    let one = "a=akv://kv1/sql-sa";
    page.run(write(&["--secret", one, "--secret", one]));
    page.run(write(&[
        "--secret",
        one,
        "--secret",
        "a/b=akv://kv1/sql-sa",
    ]));
    page.run(write(&[
        "--secret",
        one,
        "--output=files",
        "--output=json:a",
    ]));
    for (output, name) in [
        ("dotenv:.env", "tls.key"),
        ("dotenv:.env", "UID"),
        ("k8s-env:.env", "tls/key"),
        ("k8s-env:.env", &"x".repeat(129)),
    ] {
        let secret = format!("{name}=akv://kv1/sql-sa");
        page.run(write(&["--output", output, "--secret", &secret]));
    }
    page.run(write(&["--from-env"]));
    let name = OsStr::from_bytes(b"DB_\xff");
    page.run(write(&["--from-env"]).env(name, "akv://kv1/sql-sa"));
}

pub fn plans(page: &mut Page) {
    let words = [
        "exec",
        "--dry-run",
        "--vault=prod-kv",
        "--secret=DB_PASSWORD=sql-sa",
        "--secret=API_KEY=akv://vault.example.com/api-key?trim",
        "--secret=DB_URL=postgres://app:{akv://prod-kv/sql-sa?encode=url}@db/app",
        "--secret=DB_REPLICA=akv://prod-kv/replica?optional",
        "--secret=DB_REGION=akv://prod-kv/region?default=westeurope",
        "--secret=DB_USER=akv://prod-kv/sql-sa?decode=base64&encode=url#/user",
        "--secret=PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net",
        "--memfd=CERTIFICATE_FILE=akv://prod-kv/tls?pem=chain",
        "--unset=IDENTITY_HEADER",
        "--timeout=0",
        "--wait-for-access=10m",
        "/bin/true",
    ];
    page.show(akv_init(words));
    let words = [
        "write",
        "--dry-run",
        "--secret=a=akv://prod-kv/sql-sa",
        "--output=files",
        "--output=json:app.json",
        "/run/secrets",
    ];
    page.show(akv_init(words));
    let words = [
        "write",
        "--dry-run",
        "--every=15m",
        "--secret=a=akv://prod-kv/sql-sa/0123456789abcdef0123456789abcdef",
        "/run/secrets",
    ];
    page.show(akv_init(words));
    for init in ["--init", "--init=child"] {
        page.show(akv_init([
            "exec",
            init,
            "--drain=9",
            "--dry-run",
            "/bin/true",
        ]));
    }
}
