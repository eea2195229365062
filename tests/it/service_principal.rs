//! A service principal: the form that carries its secret, where a secret can come from, half a credential. Its
//! certificate has a file of its own.

mod certificate;

use std::fs;

use crate::azure::{APPLICATION, Answer, Azure, CLIENT_SECRET, Door, Identity, TENANT};
use crate::network::wire::{assert_got_it, connections, headers, user_agent};
use crate::support_identities::{
    CLIENT, Source, assert_refused_without_its_value, assert_token, only_request, with,
};

const HERE: Source = Source::Secret;

const ITS_VALUE: &str = "hint: is this the client secret's value, not its id, and not expired? az ad app credential \
                         list shows both";

#[test]
fn the_request_is_this_and_nothing_else() {
    let azure = Azure::start();
    assert_got_it(&HERE.exec(&azure, &[]).outcome());
    let request = only_request(&azure, Door::Login);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", format!("/{TENANT}/oauth2/v2.0/token").as_str())
    );
    let host = format!("host: {}", azure.login().trim_start_matches("https://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            "client-request-id: UUID",
            &format!("content-length: {}", request.body.len()),
            "content-type: application/x-www-form-urlencoded",
            &host,
            &user_agent(),
        ]
    );
    // The secret has every character in it that a form must not carry as it is.
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        format!(
            "client_id={APPLICATION}&grant_type=client_credentials\
             &client_secret=Xy8Q~a.b_c-d%2Be%2Ff%3D%26g%25h%20wholly-secret\
             &scope=https%3A%2F%2Fvault.azure.net%2F.default"
        )
    );
}

#[test]
fn a_secret_may_stand_in_a_file_with_a_line_end() {
    let azure = Azure::start();
    let file = azure.dir().join("client-secret");
    for end in ["", "\n", "\r\n"] {
        fs::write(&file, format!("{CLIENT_SECRET}{end}")).unwrap();
        let run = HERE
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("AZURE_CLIENT_SECRET_FILE", &file);
        assert_token(&azure, &run.outcome());
    }
}

/// systemd's credentials: a name without a directory is one of `$CREDENTIALS_DIRECTORY`, where it is there.
#[test]
fn a_relative_file_is_a_credential_of_systemd() {
    let azure = Azure::start();
    let directory = azure.dir().join("credentials");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("app-secret"), CLIENT_SECRET).unwrap();
    fs::copy(azure.certificate_file(), directory.join("app.pem")).unwrap();
    let run = || {
        HERE.token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("CREDENTIALS_DIRECTORY", &directory)
    };
    let secret = run().env("AZURE_CLIENT_SECRET_FILE", "app-secret");
    assert_token(&azure, &secret.outcome());
    let certificate = run().env("AZURE_CLIENT_CERTIFICATE_PATH", "app.pem");
    assert_token(&azure, &certificate.outcome());
    // An absolute name is what it says; a relative one that is not there belongs to the working directory.
    let absolute = run().env("AZURE_CLIENT_SECRET_FILE", directory.join("app-secret"));
    assert_token(&azure, &absolute.without("CREDENTIALS_DIRECTORY").outcome());
    let elsewhere = run()
        .env("AZURE_CLIENT_SECRET_FILE", "credentials/app-secret")
        .with(|command| {
            command.current_dir(azure.dir());
        });
    assert_token(&azure, &elsewhere.outcome());
}

#[test]
fn a_secret_file_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let missing = azure.dir().join("no-such-file");
    let empty = azure.dir().join("empty");
    fs::write(&empty, "\n").unwrap();
    let binary = azure.dir().join("binary");
    fs::write(&binary, b"\xff\xfe").unwrap();
    for (path, why) in [
        (&missing, "No such file or directory (os error 2)"),
        (&azure.dir().to_owned(), "Is a directory (os error 21)"),
        (&empty, "it is empty"),
        (&binary, "it is not UTF-8"),
    ] {
        let line = format!(
            "error: {}: AZURE_CLIENT_SECRET_FILE: `{}`: {why}",
            HERE.asking(&azure),
            path.display()
        );
        HERE.token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("AZURE_CLIENT_SECRET_FILE", path)
            .outcome()
            .failed(78, &[&line]);
    }
    assert_eq!(azure.requests_at(Door::Login).len(), 0);
}

#[test]
fn half_a_credential_names_the_missing_half() {
    let azure = Azure::start();
    let credential =
        "AZURE_CLIENT_SECRET (or AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH)";
    for (missing, named) in [
        (&["AZURE_TENANT_ID"][..], "AZURE_TENANT_ID is".to_owned()),
        (&["AZURE_CLIENT_ID"], "AZURE_CLIENT_ID is".to_owned()),
        (
            &["AZURE_TENANT_ID", "AZURE_CLIENT_ID"],
            "AZURE_TENANT_ID and AZURE_CLIENT_ID are".to_owned(),
        ),
        (&["AZURE_CLIENT_SECRET"], format!("{credential} is")),
    ] {
        for empty in [false, true] {
            let mut run = HERE.token(&azure, &["--identity", "service-principal"]);
            for name in missing {
                run = match empty {
                    true => run.env(name, ""),
                    false => run.without(name),
                };
            }
            let line = format!("error: the service principal is not complete: {named} not set");
            run.outcome().failed(78, &[&line]);
        }
    }
    // Without a credential and without its being named, the environment says who, and no source.
    assert_eq!(connections(&azure), 0);
}

/// EnvironmentCredential's order: the secret, then the certificate.
#[test]
fn the_secret_goes_before_the_certificate() {
    let azure = Azure::start();
    let run = with(HERE.token(&azure, &[]), &azure.certificate_environment());
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Door::Login);
    assert_eq!(
        request.form("client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
    assert_eq!(request.form("client_assertion"), None);
}

#[test]
fn the_principal_goes_before_the_platform_and_behind_the_token_file() {
    let azure = Azure::start();
    let platform = [
        azure.app_service_environment(),
        azure.machine_learning_environment(),
    ]
    .concat();
    assert_token(&azure, &with(HERE.token(&azure, &[]), &platform).outcome());
    assert_eq!(azure.connections(Door::Platform), 0);
    let run = with(HERE.token(&azure, &[]), &azure.workload_environment());
    assert_token(&azure, &run.outcome());
    let request = azure.requests_at(Door::Login).pop().unwrap();
    assert_eq!(request.form("client_secret"), None);
    // Until it is asked for by name.
    let run = HERE.token(&azure, &["--identity", "service-principal"]);
    assert_token(&azure, &with(run, &azure.workload_environment()).outcome());
    let request = azure.requests_at(Door::Login).pop().unwrap();
    assert_eq!(
        request.form("client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
}

#[test]
fn a_client_id_by_option_beats_the_variable_and_an_object_id_is_none() {
    let azure = Azure::start();
    azure.identities(&[Identity::user(CLIENT)]);
    assert_token(
        &azure,
        &HERE.token(&azure, &["--client-id", CLIENT]).outcome(),
    );
    let request = only_request(&azure, Door::Login);
    assert_eq!(request.form("client_id").as_deref(), Some(CLIENT));
    for option in ["--object-id", "--resource-id"] {
        HERE.token(&azure, &[option, CLIENT]).outcome().failed(
            78,
            &[
                "error: a service principal is chosen by client id; an object id or a resource id does not apply",
                "hint: give --client-id, or --identity managed to use a managed identity",
            ],
        );
    }
}

/// 7000215 by the real answer, 7000222 as Entra words it.
#[test]
fn a_secret_that_is_refused_is_not_sent_again() {
    let azure = Azure::start();
    let asking = HERE.asking(&azure);
    let ids = "; trace id 7d4b9c1e-3f52-4a86-9e0d-6c8a2b5f0100; correlation id e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b; \
               at 2026-01-20 22:54:42Z";
    let outcome = HERE
        .token(&azure, &["--verbose"])
        .env("AZURE_CLIENT_SECRET", "LEAKofANOTHERsecret")
        .outcome();
    let line = format!(
        "{asking}: 401 Unauthorized (invalid_client): AADSTS7000215: Invalid client secret provided. Ensure the secret \
         being sent in the request is the client secret value, not the client secret ID, for a secret added to app \
         '{APPLICATION}'{ids}"
    );
    assert_eq!(outcome.error(), Some(line.as_str()));
    assert_eq!(outcome.hint(), Some(&ITS_VALUE["hint: ".len()..]));
    assert!(!outcome.stderr.contains("LEAK"), "{}", outcome.stderr);
    only_request(&azure, Door::Login);

    azure.next(
        Door::Login,
        Answer::aadsts(
            7_000_222,
            "The provided client secret keys for app 'x' are expired.",
        )
        .with_status(401),
    );
    let line = format!(
        "error: {asking}: 401 Unauthorized (invalid_client): AADSTS7000222: The provided client secret keys for app \
         'x' are expired{ids}"
    );
    HERE.token(&azure, &[])
        .outcome()
        .failed(77, &[&line, ITS_VALUE]);
    assert_eq!(azure.requests_at(Door::Login).len(), 2);
}

/// T6: what becomes a part of the URL is checked first.
#[test]
fn t6_a_tenant_is_a_guid_or_a_domain() {
    let azure = Azure::start();
    for tenant in ["not a valid tenant", "../common", "a/b", "a?b", ".", ".."] {
        let outcome = HERE
            .token(&azure, &[])
            .env("AZURE_TENANT_ID", tenant)
            .outcome();
        let line = format!("error: AZURE_TENANT_ID: `{tenant}` is neither a GUID nor a domain");
        outcome.failed(78, &[&line]);
    }
    assert_eq!(connections(&azure), 0);
}

/// T4: a secret is never sent in the clear.
#[test]
fn t4_the_authority_is_only_asked_over_https() {
    let azure = Azure::start();
    for authority in ["http://insecure", "http://user:LEAK@insecure"] {
        let run = HERE
            .token(&azure, &[])
            .env("AZURE_AUTHORITY_HOST", authority);
        assert_refused_without_its_value(&run.outcome(), "AZURE_AUTHORITY_HOST");
    }
    assert_eq!(connections(&azure), 0);
}
