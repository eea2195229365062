//! A refusal is final: a secret that was deleted or denied is never kept.

use super::{Earlier, KEEP, LAYOUTS, ONE, keep};
use crate::azure::{Azure, Endpoint, Identity, Response, Stored};
use crate::support::Run;
use crate::support_files::Place;
use crate::support_requests::without_ids;
use crate::support_tables::in_parallel;

/// Asserts that the run fails with this cause, as it does without `--keep-existing`, and changes nothing.
#[track_caller]
fn never_kept(earlier: &Earlier, change: impl Fn(Run) -> Run, (code, cause): (i32, &str)) {
    let before = earlier.place.snapshot();
    let without = [&KEEP[1..], &ONE].concat();
    let expected = change(earlier.again(&without)).failure(code, cause);
    let failure = change(earlier.again(&keep(&ONE))).failure(code, cause);
    assert_eq!(
        without_ids(failure.message()),
        without_ids(expected.message())
    );
    assert_eq!(failure.line["hint"], expected.line["hint"]);
    assert_eq!(earlier.place.snapshot(), before);
}

const NOT_FOUND: (i32, &str) = (66, "not found");
const PROTOCOL: (i32, &str) = (76, "protocol");
const DENIED: (i32, &str) = (77, "denied");
const CONFIG: (i32, &str) = (78, "config");

#[test]
fn refusal_of_the_vault_is_final() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        for (answer, cause) in [
            (Response::rbac(), DENIED),
            (Response::access_policy(), DENIED),
            (Response::firewall(), DENIED),
            (Response::private_endpoint(), DENIED),
            (Response::policy(), DENIED),
            (Response::akv10000(), DENIED),
            (Response::disabled(), NOT_FOUND),
            (Response::not_found("alpha"), NOT_FOUND),
            (Response::garbage(), PROTOCOL),
            (Response::html(200, "<html>Please sign in</html>"), PROTOCOL),
            (Response::redirect("https://sign-in.example.com/"), PROTOCOL),
        ] {
            earlier.azure.always(Endpoint::Vault, answer);
            never_kept(&earlier, |run| run, cause);
        }
        earlier.azure.clear(Endpoint::Vault);
        // The fake Azure's own answer.
        earlier.azure.put(Stored {
            enabled: false,
            ..Stored::new("alpha", "first")
        });
        never_kept(&earlier, |run| run, NOT_FOUND);
    }
}

#[test]
fn refusal_of_the_identity_is_final() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.identities(&[]);
    never_kept(&earlier, |run| run, DENIED);
    earlier
        .azure
        .identities(&[Identity::user("one"), Identity::user("two")]);
    never_kept(&earlier, |run| run, DENIED);
    earlier.azure.always(Endpoint::Imds, Response::garbage());
    never_kept(&earlier, |run| run, PROTOCOL);
    let federated = |azure: &Azure, run: Run| {
        let variables = azure.workload_environment().into_iter();
        let run = run.without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        variables.fold(run, |run, (name, value)| run.env(name, value))
    };
    let refused = Response::aadsts(700_213, "No matching federated identity record found.");
    earlier.azure.always(Endpoint::Login, refused);
    never_kept(&earlier, |run| federated(&earlier.azure, run), DENIED);
}

#[test]
fn configuration_error_is_final() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.close(Endpoint::Vault);
    never_kept(
        &earlier,
        |run| run.env("SSL_CERT_FILE", "/no/such/file"),
        CONFIG,
    );
    never_kept(
        &earlier,
        |run| run.env("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        CONFIG,
    );
    never_kept(
        &earlier,
        |run| run.env("AZURE_CLIENT_SECRET", "half of it"),
        CONFIG,
    );
    never_kept(
        &earlier,
        |run| {
            run.env("AKV_INIT_TIMEOUT", "soon")
                .env("AKV_INIT_CLOUD", "mars")
        },
        CONFIG,
    );
    earlier.azure.open(Endpoint::Vault);
    // A certificate that is not trusted.
    never_kept(&earlier, |run| run.without("SSL_CERT_FILE"), PROTOCOL);
}

#[test]
fn refusal_of_one_secret_is_final_while_another_is_unavailable() {
    let two = ["--secret", "a=alpha", "--secret", "b=beta"];
    let denied = [
        (Response::rbac(), DENIED),
        (Response::not_found("beta"), NOT_FOUND),
    ];
    let rows = LAYOUTS
        .iter()
        .flat_map(|layout| denied.clone().map(|denied| (*layout, denied)));
    in_parallel(rows, |(layout, (denied, (code, cause)))| {
        let earlier = Earlier::run(layout, &two);
        let azure = &earlier.azure;
        azure.always_for(Endpoint::Vault, "/secrets/alpha", Response::status(503));
        azure.always_for(Endpoint::Vault, "/secrets/beta", denied);
        let before = earlier.place.snapshot();
        let words = [&["--keep-existing", "--timeout", "30"], &two[..]].concat();
        let failure = earlier.again(&words).failure(code, cause);
        failure.fact("secret", "beta").fact("vault", azure.vault());
        assert_eq!(earlier.place.snapshot(), before);
    });
}

/// It expires, and may not be issued again.
#[test]
fn access_token_is_never_kept() {
    let reference = "b=entra-token:https://database.windows.net/";
    for layout in LAYOUTS {
        let words = ["--secret", "a=alpha", "--secret", reference];
        let azure = Azure::start();
        azure.secret("alpha", "first");
        let earlier = Earlier {
            azure,
            place: Place::new(),
            layout,
        };
        earlier.wrote(&words);
        // There is no manifest for a later run to rely on.
        assert!(!earlier.place.path("..data/..akv-init.json").exists());
        assert!(!earlier.place.path("..akv-init.json").exists());
        earlier.azure.close(Endpoint::Vault);
        let failure = earlier.unavailable(earlier.again(&keep(&words)), "a");
        assert!(!failure.message().contains(&earlier.place.word()));
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
        earlier.azure.close(Endpoint::Imds);
        let run = earlier.again(&keep(&["--secret", reference]));
        let failure = run.failure(69, "unavailable");
        assert!(!failure.message().contains(&earlier.place.word()));
    }
}
