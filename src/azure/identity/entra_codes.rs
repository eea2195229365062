//! Entra's error codes (AADSTS) for client credentials: whether each is retried, its cause and its hint.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>, and threads in which a
//! code was reported. Entra may change its codes: they decide about retries and hints, never about success.

use super::token::UNKNOWN_RESOURCE_HINT;
use crate::error::RequestFailure;

/// The hint for a code that is not in [`get`].
pub const UNKNOWN_CODE_HINT: &str =
    "akv-init does not know AADSTS{code}: see https://login.microsoftonline.com/error?code={code}";

/// The kind of failure and the hint, which may be empty, for an AADSTS code; `None` if the code is not known.
/// `EntraClient` replaces the names in braces in a hint.
pub fn get(code: i64) -> Option<(RequestFailure, &'static str)> {
    use RequestFailure::{
        AssertionExpired, CredentialRefused, FederationMismatch, InvalidSettings,
        PossiblyPermanent, PossiblyTemporary, ServerError, Throttled,
    };
    Some(match code {
        // Entra is unwell, or has to read something first.
        40_010 | 50_033 | 70_012 | 90_006 | 90_012 | 90_024 | 90_025 | 90_033 | 90_090 | 90_091
        | 230_109 => (ServerError, ""),
        50_196 | 90_055 => (
            Throttled,
            "start fewer containers at once, and look for one that restarts in a loop",
        ),
        50_166 | 90_061 | 501_661 => (
            ServerError,
            "Entra cannot read the issuer's /.well-known/openid-configuration or keys, which must be public, without a \
             firewall; the token has {claims}",
        ),
        7_000_272 => (
            ServerError,
            "after a rotation, Entra may take an hour to read the issuer's new keys; does the issuer publish the one that \
             signed the token, which has {claims}?",
        ),
        50_000 | 90_036 | 90_092 | 220_501 => (
            PossiblyPermanent,
            "if it lasts, open a support ticket with these ids",
        ),
        // The federated credential and the token.
        70_021 | 700_211..=700_214 | 7_002_121 | 7_002_131 | 7_002_137 => (
            FederationMismatch,
            "compare the federated credential of client id {client_id} with the token in the file, which has {claims}",
        ),
        70_025 | 7_000_226 => (
            FederationMismatch,
            "client id {client_id} has no federated credential: is it the client id of the identity that has one?",
        ),
        7_002_138 => (
            CredentialRefused,
            "the federated credential's subject differs only in upper or lower case: create the credential anew for the \
             token, which has {claims}",
        ),
        700_222 | 700_226 | 700_227 | 700_229 | 700_231 | 700_236 => (
            CredentialRefused,
            "AZURE_FEDERATED_TOKEN_FILE must hold the service account token of the cluster, not one that Entra issued",
        ),
        51_000 | 700_223 | 700_238 | 7_002_381 => (
            CredentialRefused,
            "tenant {tenant} does not allow such a credential: ask its administrator",
        ),
        700_233..=700_235 | 700_237 | 7_002_241 => (
            CredentialRefused,
            "give the federated credential a plain subject in place of a claimsMatchingExpression",
        ),
        // The assertion, the certificate or the secret.
        50_027 | 7_000_274 => (PossiblyTemporary, "does the file hold a complete JWT?"),
        700_024 => (
            AssertionExpired,
            "is this machine's clock right (it is set to {now}), and the token file, if there is one, up to date?",
        ),
        50_006 | 50_013 | 50_048 | 700_021 | 700_023 | 900_384 | 7_000_110 => (
            CredentialRefused,
            "the assertion does not fit the request: check client id {client_id}, tenant {tenant}, --cloud, and the token file or \
             certificate",
        ),
        5_002_710 | 5_002_723 | 5_002_726 | 5_002_727 | 5_002_730 | 5_002_738 => (
            CredentialRefused,
            "the issuer must sign with RS256, with `typ` JWT and a `kid` in the token's header",
        ),
        50_012 | 50_017 | 50_032 | 500_172 | 700_026 | 700_027 | 700_030 | 1_000_502
        | 7_000_214 | 7_000_277 => (
            CredentialRefused,
            "is the certificate{thumbprint}, the first in its file, registered for the application, valid and not revoked? \
             See `az ad app credential list --cert --id {client_id}`",
        ),
        70_002 | 7_000_215 => (
            CredentialRefused,
            "is it the value of the client secret (not its id)? See `az ad app credential list --id {client_id}`",
        ),
        7_000_222 => (
            CredentialRefused,
            "the client secret has expired: `az ad app credential reset --append --id {client_id}` creates a new one",
        ),
        7_000_232 => (
            InvalidSettings,
            "client id {client_id} is a managed identity, which has no secret: use --identity managed or workload",
        ),
        // The application.
        70_001 | 700_011 | 700_016 => (
            PossiblyTemporary,
            "tenant {tenant} has no application or identity with client id {client_id}: check AZURE_CLIENT_ID and \
             AZURE_TENANT_ID",
        ),
        7_000_229 => (
            PossiblyTemporary,
            "tenant {tenant} has no service principal for the application: `az ad sp create --id {client_id}` creates it",
        ),
        1_000_031 | 7_000_112 => (
            CredentialRefused,
            "an administrator of tenant {tenant} has disabled the application: `az ad sp update --set accountEnabled=true \
             --id {client_id}` enables it",
        ),
        700_025 => (
            CredentialRefused,
            "the application is a public client: turn off `Allow public client flows` in its registration",
        ),
        82_001 | 82_002 => (
            CredentialRefused,
            "client id {client_id} is an agent's: use an application or a managed identity",
        ),
        50_105 | 500_014 | 501_051 => (
            CredentialRefused,
            "in tenant {tenant}, `{resource}` is disabled or needs an assignment of the application to it",
        ),
        65_001 | 65_005 | 90_008 | 90_009 | 90_094 | 90_099 | 650_052 | 650_054 | 650_056
        | 650_057 => (
            CredentialRefused,
            "an administrator of tenant {tenant} must consent for the application",
        ),
        50_005
        | 50_053
        | 50_131
        | 53_000..=53_004
        | 53_010
        | 53_011
        | 500_531
        | 530_032..=530_035 => (
            CredentialRefused,
            "a Conditional Access or security policy blocks this address or workload: see the service principal sign-ins \
             in Entra's sign-in logs",
        ),
        // The tenant, the network and the resource.
        50_002 | 500_021 | 500_022 | 500_212 | 500_213 | 1_000_104 | 5_000_211 => (
            CredentialRefused,
            "a proxy of this network or an access policy forbids tenant {tenant}: its administrator must allow it",
        ),
        5_000_224 | 5_000_225 | 5_000_229 => (
            CredentialRefused,
            "tenant {tenant} is blocked or was deleted: is it the right one?",
        ),
        900_021 => (
            InvalidSettings,
            "AZURE_TENANT_ID is all zeros: set it to the tenant's id",
        ),
        90_038 | 900_382 | 900_383 | 900_432 | 900_439 | 900_440 => (
            InvalidSettings,
            "tenant {tenant} is in another cloud: check --cloud and AZURE_AUTHORITY_HOST",
        ),
        50_049 | 50_050 | 50_059 | 50_128 | 50_194 | 90_002 | 90_013 | 90_019 | 90_043 | 90_051
        | 90_124 | 90_130 | 100_007 | 900_023 | 9_001_023 | 9_002_331 | 9_002_332 | 9_002_346 => (
            InvalidSettings,
            "check AZURE_TENANT_ID ({tenant}), AZURE_AUTHORITY_HOST and --cloud",
        ),
        28_002 | 28_003 | 50_001 | 70_011 | 90_010 | 90_102 | 500_011 | 501_461 | 700_022
        | 901_002 | 1_002_012 => (InvalidSettings, UNKNOWN_RESOURCE_HINT),
        // The request on its way.
        70_003 | 90_004 | 90_014 | 90_015 | 90_023 | 90_056 | 90_100 | 90_107 | 90_117 | 90_121
        | 900_144 | 900_561 | 1_002_016 | 7_000_216 | 7_000_218 | 9_000_411 | 9_002_313 => (
            CredentialRefused,
            "the request was changed on its way: does a proxy that intercepts TLS do so? Name the host in NO_PROXY",
        ),
        _ => return None,
    })
}

/// The first AADSTS code in a text such as `AADSTS700016: …`; `None` if there is none. Not every service has a
/// separate field for the code.
pub fn code_in(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("AADSTS")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
