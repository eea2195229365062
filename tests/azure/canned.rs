//! The responses of the real services, word for word where a recording or the documentation has them. In a vault's text
//! `{caller}`, `{host}`, `{secret}` and `{vault}` are those of the request, `{credential}` and `{form}` for the
//! credential and the form of the request.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>
//! <https://github.com/Azure/aad-pod-identity/blob/master/pkg/nmi/server/server.go>

use serde_json::{Value, json};

use super::Response;
use super::imds::SEVERAL;
use super::token::TENANT;

// The vault.
impl Response {
    /// Any refusal in the vault's shape.
    pub fn vault_error(status: u16, code: &str, inner: Option<&str>, message: &str) -> Response {
        let mut error = json!({"code": code, "message": message});
        if let Some(inner) = inner {
            error["innererror"] = json!({"code": inner});
        }
        Response::json(status, &json!({"error": error}))
    }

    /// No role on the vault, or one that is not effective yet.
    pub fn rbac() -> Response {
        Response::without_role("getSecret", "/secrets/{secret}")
    }

    /// No role on the vault that allows to list its secrets.
    pub fn rbac_list() -> Response {
        Response::without_role("readMetadata", "")
    }

    fn without_role(action: &str, path: &str) -> Response {
        let message = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
             definitions were changed recently, please observe propagation time.\r\nCaller: {{caller}}\r\nAction: \
             'Microsoft.KeyVault/vaults/secrets/{action}/action'\r\nResource: \
             '/subscriptions/5ca1ab1e-0000-4000-8000-000000000001/resourcegroups/app/providers/microsoft.keyvault/\
             vaults/{{vault}}{path}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n\
             DecisionReason: null \r\nVault: {{vault}};location=westeurope\r\n"
        );
        Response::forbidden("ForbiddenByRbac", &message)
    }

    /// No access policy.
    pub fn access_policy() -> Response {
        Response::without_permission("get")
    }

    /// No access policy that allows to list secrets.
    pub fn access_policy_list() -> Response {
        Response::without_permission("list")
    }

    fn without_permission(permission: &str) -> Response {
        let message = format!(
            "The user, group or application '{{caller}}' does not have secrets {permission} permission on key vault \
             '{{vault}};location=westeurope'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287"
        );
        Response::forbidden("AccessDenied", &message)
    }

    /// The vault's firewall.
    pub fn firewall() -> Response {
        Response::forbidden(
            "ForbiddenByFirewall",
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.5\r\n\
             Caller: {caller}\r\nVault: {vault};location=westeurope",
        )
    }

    /// Public network access is off.
    pub fn private_endpoint() -> Response {
        Response::forbidden(
            "ForbiddenByConnection",
            "Public network access is disabled and request is not from a trusted service nor via an approved private \
             link.\r\nCaller: {caller}\r\nVault: {vault};location=westeurope",
        )
    }

    /// On-behalf-of callers that the policy does not name.
    pub fn policy() -> Response {
        Response::forbidden(
            "ForbiddenByPolicy",
            "The caller is not allowed by the vault's access policy.",
        )
    }

    /// A disabled version, or the secret of a pending certificate.
    pub fn disabled() -> Response {
        Response::forbidden(
            "SecretDisabled",
            "Operation get is not allowed on a disabled secret.",
        )
    }

    /// No such secret; `name` or `name/version`.
    pub fn not_found(name: &str) -> Response {
        let text = format!(
            "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you \
             may be able to recover it using the correct recovery command. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125182"
        );
        Response::vault_error(404, "SecretNotFound", None, &text)
    }

    /// An api-version that this vault does not know.
    pub fn api_version(version: &str, latest: &str) -> Response {
        let text = format!(
            "The specified version ({version}) is not recognized. Consider using the latest supported version \
             ({latest})."
        );
        Response::vault_error(400, "BadParameter", None, &text)
    }

    /// No token.
    pub fn akv10000() -> Response {
        Response::unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
    }

    /// A token for another resource.
    pub fn akv10022(expected: &str, found: &str) -> Response {
        Response::unauthorized(&format!(
            "AKV10022: Invalid audience. Expected {expected}, found: {found}."
        ))
    }

    /// A token of another tenant than the one that the vault trusts, with the challenge that names it.
    pub fn akv10032(trusted: &str) -> Response {
        let challenge = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{trusted}\", resource=\"https://vault.azure.net\""
        );
        Response::invalid_issuer(trusted, TENANT).header("WWW-Authenticate", &challenge)
    }

    pub(super) fn invalid_issuer(trusted: &str, found: &str) -> Response {
        Response::unauthorized(&format!(
            "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{trusted}/, found \
             https://sts.windows.net/{found}/."
        ))
    }

    /// A vault that cannot check a good token at the moment.
    pub fn akv10046() -> Response {
        Response::unauthorized(
            "AKV10046: Unable to resolve the key used for signature validation. The key ID in the token was not found.",
        )
    }

    /// Too many requests. The recorded one had no Retry-After; add it with `header`.
    pub fn throttled() -> Response {
        Response::vault_error(
            429,
            "Throttled",
            None,
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        )
    }

    fn forbidden(inner: &str, message: &str) -> Response {
        Response::vault_error(403, "Forbidden", Some(inner), message)
    }

    fn unauthorized(message: &str) -> Response {
        Response::vault_error(401, "Unauthorized", None, message)
    }
}

// Entra.
impl Response {
    /// A refusal with its AADSTS number; 400 unless `with_status` says 401.
    pub fn aadsts(code: u32, text: &str) -> Response {
        let error = match code {
            70_021 | 700_016 | 700_024..=700_030 | 700_211..=700_213 | 7_000_215..=7_000_222 => {
                "invalid_client"
            }
            _ => "invalid_request",
        };
        Response::entra_error(error, code, text)
    }

    /// As `aadsts`, with the `error` member spelled out.
    pub fn entra_error(error: &str, code: u32, text: &str) -> Response {
        let (trace, correlation) = (TRACE, CORRELATION);
        let time = "2026-01-20 22:54:42Z";
        let body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {time}"
            ),
            "error_codes": [code], "timestamp": time, "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        Response::json(400, &body)
    }

    /// Entra's throttling: no JSON.
    pub fn entra_throttled(retry_after: u32) -> Response {
        Response::text(429, "Too Many Requests").header("Retry-After", &retry_after.to_string())
    }
}

// The identity endpoint, and what responses in its place.
impl Response {
    /// A refusal in the identity endpoint's shape.
    pub fn imds_error(status: u16, error: &str, description: &str) -> Response {
        Response::json(
            status,
            &json!({"error": error, "error_description": description}),
        )
    }

    /// No identity on the machine, or not the one that was named.
    pub fn imds_not_found() -> Response {
        Response::imds_error(400, "invalid_request", "Identity not found")
    }

    /// Several identities and none named.
    pub fn imds_multiple() -> Response {
        Response::imds_error(400, "invalid_request", SEVERAL)
    }

    /// A failure between IMDS and Entra.
    pub fn imds_failed() -> Response {
        let text = "Failed to retrieve token from the Active directory. For details see logs in C:\\logs\\identity.log";
        Response::imds_error(500, "unknown", text)
    }

    /// A response of the NMI daemon of aad-pod-identity: plain text, and no `Server` header.
    pub fn nmi(status: u16, text: &str) -> Response {
        Response::text(status, &format!("{text}\n")).bare()
    }

    /// NMI's text while the identity is not assigned to the pod yet.
    pub fn nmi_unassigned() -> Response {
        Response::nmi(
            404,
            "getting assigned identities for pod default/app in CREATED state failed after 16 attempts, retry duration \
             [5]s, error: <nil>. Check MIC pod logs for identity assignment errors",
        )
    }

    /// NMI's text when Entra or the identity endpoint refused it.
    pub fn nmi_refused() -> Response {
        Response::nmi(
            403,
            "failed to refresh token, error: adal: Refresh request failed. Status Code = '400'. Response body: \
             {\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}",
        )
    }

    /// NMI's good response: all strings, labelled as plain text.
    pub fn nmi_token() -> Response {
        let fields: Value = json!({
            "refresh_token": "", "expires_in": "86399", "expires_on": "4102444800", "not_before": "1700000000",
            "resource": "https://vault.azure.net", "token_type": "Bearer",
        });
        Response::token(fields)
            .content_type("text/plain; charset=utf-8")
            .bare()
    }

    /// Docker Desktop's proxy speaking for 169.254.169.254.
    pub fn docker_desktop() -> Response {
        let text = "connecting to 169.254.169.254:80: connecting to 169.254.169.254:80: dial tcp 169.254.169.254:80: \
                    connectex: A socket operation was attempted to an unreachable network.";
        Response::json(403, &json!({"error": text})).bare()
    }

    /// A proxy that requires credentials.
    pub fn proxy_authentication() -> Response {
        Response::text(407, "Proxy Authentication Required")
            .header("Proxy-Authenticate", "Basic realm=\"fake\"")
    }
}

// The other platforms.
impl Response {
    /// A refusal of App Service's identity endpoint.
    pub fn app_service_error(status: u16, message: &str) -> Response {
        Response::json(
            status,
            &json!({"statusCode": status, "message": message, "correlationId": CORRELATION}),
        )
    }

    /// No identity on the app, or not the one that was named.
    pub fn app_service_no_identity() -> Response {
        Response::app_service_error(400, "Unable to load the proper Managed Identity.")
    }

    /// A resource that does not exist, or a temporary failure: the same response.
    pub fn app_service_failed() -> Response {
        let text = "An unexpected error occured while fetching the AAD Token.";
        Response::app_service_error(500, text)
    }

    /// A refusal of Cloud Shell's endpoint.
    pub fn cloud_shell_error(status: u16, code: &str, message: &str) -> Response {
        Response::json(
            status,
            &json!({"error": {"code": code, "message": message}}),
        )
    }

    /// The first response of the agent of Azure Arc: the file that holds the key for the second request.
    pub fn arc_challenge(header: &str) -> Response {
        let body = json!({
            "error": "unauthorized_client", "error_description": "Missing Basic Authorization header",
            "error_codes": [401],
        });
        Response::json(401, &body).header("WWW-Authenticate", header)
    }

    /// A newer agent, for an identity that the machine does not have.
    pub fn arc_not_found() -> Response {
        let text = "the requested identity has not been assigned to this resource";
        Response::imds_error(404, "identity_not_found", text)
    }
}

/// What every refusal of Entra carries for support.
pub const TRACE: &str = "7d4b9c1e-3f52-4a86-9e0d-6c8a2b5f0100";
pub const CORRELATION: &str = "e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b";
