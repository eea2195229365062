//! A refusal is an answer: whoever has taken a secret away must not find it kept.

use super::{Earlier, KEEP, LAYOUTS, ONE, keep};
use crate::azure::{Answer, Azure, Door, Identity, Stored};
use crate::faults::without_ids;
use crate::network::wire::all_at_once;
use crate::support::{Outcome, Run};
use crate::support_files::Place;

/// An outcome without the ids of its requests.
fn outcome(run: Run) -> Outcome {
    let outcome = run.outcome();
    Outcome {
        stderr: without_ids(&outcome.stderr),
        ..outcome
    }
}

/// All is as without the option, with this code, and the files are as they were.
#[track_caller]
fn never_kept(earlier: &Earlier, change: impl Fn(Run) -> Run, code: i32) {
    let before = earlier.place.snapshot();
    let without = [&KEEP[1..], &ONE].concat();
    let expected = outcome(change(earlier.again(&without)));
    let found = outcome(change(earlier.again(&keep(&ONE))));
    assert_eq!(found, expected);
    assert_eq!(
        (found.code, found.stdout.as_str()),
        (Some(code), ""),
        "{}",
        found.stderr
    );
    assert!(found.error().is_some(), "{}", found.stderr);
    assert_eq!(earlier.place.snapshot(), before);
}

#[test]
fn a_refusal_of_the_vault_is_never_overruled() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        for (answer, code) in [
            (Answer::rbac(), 77),
            (Answer::access_policy(), 77),
            (Answer::firewall(), 77),
            (Answer::private_endpoint(), 77),
            (Answer::policy(), 77),
            (Answer::akv10000(), 77),
            (Answer::disabled(), 66),
            (Answer::not_found("alpha"), 66),
            (Answer::garbage(), 76),
            (Answer::html(200, "<html>Please sign in</html>"), 76),
            (Answer::redirect("https://sign-in.example.com/"), 76),
        ] {
            earlier.azure.always(Door::Vault, answer);
            never_kept(&earlier, |run| run, code);
        }
        earlier.azure.clear(Door::Vault);
        // As the stand-in says it by itself.
        earlier.azure.put(Stored {
            enabled: false,
            ..Stored::new("alpha", "first")
        });
        never_kept(&earlier, |run| run, 66);
    }
}

#[test]
fn a_refusal_of_the_identity_is_never_overruled() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.identities(&[]);
    never_kept(&earlier, |run| run, 77);
    earlier
        .azure
        .identities(&[Identity::user("one"), Identity::user("two")]);
    never_kept(&earlier, |run| run, 77);
    earlier.azure.always(Door::Imds, Answer::garbage());
    never_kept(&earlier, |run| run, 76);
    let federated = |azure: &Azure, run: Run| {
        let variables = azure.workload_environment().into_iter();
        let run = run.without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        variables.fold(run, |run, (name, value)| run.env(name, value))
    };
    let refused = Answer::aadsts(700_213, "No matching federated identity record found.");
    earlier.azure.always(Door::Login, refused);
    never_kept(&earlier, |run| federated(&earlier.azure, run), 77);
}

#[test]
fn what_is_wrong_here_is_never_overruled() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.close(Door::Vault);
    never_kept(
        &earlier,
        |run| run.env("SSL_CERT_FILE", "/no/such/file"),
        78,
    );
    never_kept(
        &earlier,
        |run| run.env("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        78,
    );
    never_kept(
        &earlier,
        |run| run.env("AZURE_CLIENT_SECRET", "half of it"),
        78,
    );
    never_kept(
        &earlier,
        |run| {
            run.env("AKV_INIT_TIMEOUT", "soon")
                .env("AKV_INIT_CLOUD", "mars")
        },
        78,
    );
    earlier.azure.open(Door::Vault);
    // Nobody that is trusted answers there.
    never_kept(&earlier, |run| run.without("SSL_CERT_FILE"), 76);
}

/// One secret cannot be reached, and of another it is known that it is denied: the refusal counts.
#[test]
fn one_refusal_is_enough() {
    let two = ["--secret", "a=alpha", "--secret", "b=beta"];
    let denied = [(Answer::rbac(), 77), (Answer::not_found("beta"), 66)];
    let rows = LAYOUTS
        .iter()
        .flat_map(|layout| denied.clone().map(|denied| (*layout, denied)));
    all_at_once(rows, |(layout, (denied, code))| {
        let earlier = Earlier::run(layout, &two);
        let azure = &earlier.azure;
        azure.always_for(Door::Vault, "/secrets/alpha", Answer::status(503));
        azure.always_for(Door::Vault, "/secrets/beta", denied);
        let before = earlier.place.snapshot();
        let words = [&["--keep-existing", "--timeout", "30"], &two[..]].concat();
        let found = outcome(earlier.again(&words));
        assert_eq!(found.code, Some(code), "{}", found.stderr);
        let start = format!("reading secret `beta` from {} for b: 40", azure.vault());
        let error = found.error().unwrap_or_default();
        assert!(error.starts_with(&start), "{error}");
        assert_eq!(earlier.place.snapshot(), before);
    });
}

/// It would have expired, and nobody but Azure can tell whether it would be issued again.
#[test]
fn an_access_token_is_never_kept() {
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
        // Nor is anything noted that a later run could take for more than it is.
        assert!(!earlier.place.path("..data/..akv-init.json").exists());
        assert!(!earlier.place.path("..akv-init.json").exists());
        earlier.azure.close(Door::Vault);
        earlier.unavailable(
            earlier.again(&keep(&words)),
            "a",
            "an access token is never kept",
        );
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
        earlier.azure.close(Door::Imds);
        let found = earlier.again(&keep(&["--secret", reference])).outcome();
        assert_eq!(found.code, Some(69), "{}", found.stderr);
        let error = found.error().unwrap_or_default();
        assert!(
            error.ends_with(": connection refused; an access token is never kept"),
            "{error}"
        );
    }
}
