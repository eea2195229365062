//! Azure Arc: the agent's challenge, which must name a key file in the one directory that the agent uses, and, in a
//! namespace where that directory is the test's, the whole exchange.

pub mod machine;

use serde_json::json;

use crate::azure::{ARC_KEY_FILE, Azure, Endpoint, Response};
use crate::rows;
use crate::support_identities::{Source, assert_token, only_request, with};
use crate::support_tables::check_sources;

const ARC: Source = Source::Arc;

#[test]
fn missing_key_file_is_named() {
    let azure = Azure::start();
    let failure = ARC.token(&azure, &[]).failure(78, "config");
    failure
        .names(ARC_KEY_FILE)
        .hint_names("/var/opt/azcmagent/tokens");
    only_request(&azure, Endpoint::Platform);
}

/// Another server could name any file.
#[test]
fn challenge_that_is_not_the_agents_is_rejected_before_a_file_is_read() {
    let key = |realm: &str| Response::arc_challenge(realm);
    let file = |name: &str| key(&format!("Basic realm=/var/opt/azcmagent/tokens/{name}"));
    let rows = rows! {
        "no scheme": key(&format!("Realm={ARC_KEY_FILE}")) => 76 once, hint;
        "scheme alone": key("Basic ") => 76 once, hint;
        "no value": key("Basic realm") => 76 once, hint;
        "empty value": key("Basic realm=") => 76 once, hint;
        "another scheme": key("Bearer realm=/var/opt/azcmagent/tokens/a.key") => 76 once, hint;
        "another directory": key("Basic realm=/path/to/secret.txt") => 76 once, hint;
        "another extension": file("secret.txt") => 76 once, hint;
        "no extension": file("secret") => 76 once, hint;
        "no name": file(".key") => 76 once, hint;
        "relative": key("Basic realm=path/to/secret.key") => 76 once, hint;
        "a key in another directory": key("Basic realm=/etc/ssl/private/server.key") => 76 once, hint;
        "parent directories": file("../../../../etc/ssl/server.key") => 76 once, hint;
        "subdirectory": file("below/a.key") => 76 once, hint;
        "the directory as a file": key("Basic realm=/var/opt/azcmagent/tokens.key") => 76 once, hint;
        "no challenge": Response::status(401) => 76 once, hint;
        "a token without the key": Response::token(json!({"expires_in": 3599})) => 76 once, hint;
    };
    check_sources([(ARC, rows)]);
}

#[test]
fn variables_of_azure_ml_precede_those_of_arc() {
    let azure = Azure::start();
    let run = with(
        ARC.token(&azure, &[]),
        &azure.machine_learning_environment(),
    );
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Endpoint::Platform);
    assert_eq!(request.query("api-version").as_deref(), Some("2017-09-01"));
}
