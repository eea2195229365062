//! The vault's refusals, row by row: the exit code, the words with the caller, the address and the ids, and the hint.

use serde_json::json;

use super::row::{caller, row};
use crate::azure::{Answer, Azure, Door, Identity, TENANT};
use crate::network::wire::{NAME, one_secret};

#[test]
fn the_inner_code_decides_and_the_facts_for_support_are_there() {
    let azure = Azure::start();
    let caller = caller();
    let with_caller = format!("; caller {caller}");
    let scope = format!(
        "/subscriptions/5ca1ab1e-0000-4000-8000-000000000001/resourcegroups/app/providers/microsoft.keyvault/vaults/\
         localhost/secrets/{NAME}"
    );
    let host = azure.vault();
    for row in [
        row(
            "RBAC",
            Answer::rbac(),
            77,
            "403 Forbidden (ForbiddenByRbac): Caller is not authorized to perform action on resource",
        )
        .facts(&with_caller)
        .hint(&format!(
            "grant the caller the role \"Key Vault Secrets User\" at the scope {scope}; assigned in the last 10 \
             minutes? --wait-for-access 10m"
        )),
        row(
            "RBAC, no scope in the text",
            Answer::vault_error(403, "Forbidden", Some("ForbiddenByRbac"), "Caller is not authorized."),
            77,
            "403 Forbidden (ForbiddenByRbac): Caller is not authorized",
        )
        .hint(&format!(
            "grant the caller the role \"Key Vault Secrets User\" on the vault {host}; assigned in the last \
             10 minutes? --wait-for-access 10m"
        )),
        row(
            "RBAC, by its text",
            Answer::vault_error(
                403,
                "Forbidden",
                None,
                "Caller is not authorized to perform action on resource.\r\nResource: '/x/secrets/sql-sa'",
            ),
            77,
            "403 Forbidden (ForbiddenByRbac): Caller is not authorized to perform action on resource",
        )
        .hint(
            "grant the caller the role \"Key Vault Secrets User\" at the scope /x/secrets/sql-sa; assigned in the last \
             10 minutes? --wait-for-access 10m",
        ),
        row(
            "first party",
            Answer::vault_error(
                403,
                "Forbidden",
                Some("AccessDenied"),
                "Access denied to first party service.\r\nCaller: {caller}",
            ),
            77,
            "403 Forbidden (AccessDenied): Access denied to first party service",
        )
        .facts(&with_caller),
        row(
            "policy",
            Answer::policy(),
            77,
            "403 Forbidden (ForbiddenByPolicy): The caller is not allowed by the vault's access policy",
        ),
        row(
            "firewall",
            Answer::firewall(),
            77,
            "403 Forbidden (ForbiddenByFirewall): Client address is not authorized and caller is not a trusted service",
        )
        .facts(&format!("{with_caller}; client address 203.0.113.5"))
        .hint("allow the client address in the vault's firewall, or its subnet by a service endpoint"),
        row(
            "private endpoint",
            Answer::private_endpoint(),
            77,
            "403 Forbidden (ForbiddenByConnection): Public network access is disabled and request is not from a \
             trusted service nor via an approved private link",
        )
        .facts(&format!("{with_caller}; client address 203.0.113.5"))
        .hint(&format!(
            "the vault only answers through its private endpoint, and {host} led to its public address: link the \
             private DNS zone privatelink.vaultcore.azure.net to this network"
        )),
        row(
            "disabled",
            Answer::disabled(),
            66,
            "403 Forbidden (SecretDisabled): Operation get is not allowed on a disabled secret",
        )
        .hint("enable the secret or its current version; a pending certificate's secret is disabled too"),
        row(
            "not found",
            Answer::not_found(NAME),
            66,
            "404 Not Found (SecretNotFound): A secret with (name/id) sql-sa was not found in this key vault. If you \
             recently deleted this secret you may be able to recover it using the correct recovery command",
        )
        .hint("look at the name, the version and the vault; a deleted secret can be recovered"),
        // The inner code before the status.
        row(
            "disabled, another status",
            Answer::vault_error(400, "BadRequest", Some("SecretDisabled"), "Disabled."),
            66,
            "400 Bad Request (SecretDisabled): Disabled",
        )
        .hint("enable the secret or its current version; a pending certificate's secret is disabled too"),
        row(
            "an inner code below another",
            Answer::json(
                403,
                &json!({"error": {"code": "Forbidden", "message": "No.", "innererror": {
                    "code": "Outer", "innererror": {"code": "ForbiddenByFirewall"},
                }}}),
            ),
            77,
            "403 Forbidden (ForbiddenByFirewall): No",
        )
        .facts("; client address 203.0.113.5")
        .hint("allow the client address in the vault's firewall, or its subnet by a service endpoint"),
        row(
            "an inner code that nobody knows",
            Answer::vault_error(403, "Forbidden", Some("ForbiddenBySomethingNew"), "No."),
            77,
            "403 Forbidden (ForbiddenBySomethingNew): No",
        ),
        row(
            "a null for an inner code",
            Answer::json(
                403,
                &json!({"error": {"code": "Forbidden", "message": "No.", "innererror": null}}),
            ),
            77,
            "403 Forbidden: No",
        ),
    ] {
        row.check(&azure);
    }
}

#[test]
fn want_of_an_access_policy_names_the_command_and_the_caller_once() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::access_policy());
    let outcome = one_secret(&azure, &[]).outcome();
    let request = azure.requests_at(Door::Vault).pop().unwrap();
    let line = format!(
        "error: reading secret `{NAME}` from {} for S: 403 Forbidden (AccessDenied): The user, group or application \
         '{};iss=https://sts.windows.net/{TENANT}/' does not have secrets get permission on key vault \
         'localhost;location=westeurope'; request id {}; client request id {}",
        azure.vault(),
        caller(),
        request.request_id,
        request.header("x-ms-client-request-id").unwrap()
    );
    let hint = format!(
        "hint: this vault uses access policies: az keyvault set-policy --name localhost --secret-permissions get \
         --object-id {}; done in the last 10 minutes? --wait-for-access 10m",
        Identity::system().object_id
    );
    outcome.failed(77, &[&line, &hint]);
}

#[test]
fn each_401_says_what_is_wrong_with_the_token() {
    let azure = Azure::start();
    let trusted = "11111111-2222-4333-8444-555555555555";
    let unauthorized = |text: &str| Answer::vault_error(401, "Unauthorized", None, text);
    let akv10032 = format!(
        "401 Unauthorized: AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{trusted}/, \
         found https://sts.windows.net/{TENANT}/"
    );
    for row in [
        row(
            "AKV10000",
            Answer::akv10000(),
            77,
            "401 Unauthorized: AKV10000: Request is missing a Bearer or PoP token",
        ),
        row(
            "Q9",
            Answer::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
            77,
            "401 Unauthorized: AKV10022: Invalid audience. Expected https://vault.azure.net, found: \
             https://vault.azure.net/",
        )
        .hint(
            "the token is for https://vault.azure.net/, the vault expects https://vault.azure.net: look at \
             --vault-resource and --cloud",
        ),
        row("AKV10032", Answer::akv10032(trusted), 77, Box::leak(akv10032.into_boxed_str())).hint(
            "the vault trusts another tenant than the token's: was its subscription moved? Look at AZURE_TENANT_ID, or \
             move the vault's tenant id",
        ),
        row(
            "AKV10046",
            Answer::akv10046(),
            69,
            "401 Unauthorized: AKV10046: Unable to resolve the key used for signature validation. The \
             key ID in the token was not found",
        ),
        row(
            "not yet valid",
            unauthorized("Token not yet valid, check the clock."),
            69,
            "401 Unauthorized: Token not yet valid, check the clock",
        ),
        row(
            "expired",
            unauthorized("Error validating token: IDX10223."),
            77,
            "401 Unauthorized: Error validating token: IDX10223",
        ),
    ] {
        row.check(&azure);
    }
}
