//! Access tokens in the form and size of Entra's, with a meaningless signature: the fake vault accepts the tokens that were
//! issued. Also the identities, and the service account token of a federated one.
//!
//! <https://learn.microsoft.com/entra/identity-platform/access-tokens>

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::shared::Shared;
use super::{Endpoint, Request};

/// The tenant of every identity.
pub const TENANT: &str = "72f9a1b0-86f1-41af-91ab-2d7cd011db47";

/// Another tenant of which Entra issues tokens.
pub const OTHER_TENANT: &str = "9b1e4c7a-52d3-4b8f-a6e0-3f5d7c9a1b2e";

/// The client id of the application.
pub const APPLICATION: &str = "3c1f7e52-9d0b-4a5e-8f6d-1b2a39c4d5e6";

/// The object id behind [`APPLICATION`].
pub const OBJECT: &str = "a94be1d7-0c23-4f18-b5a6-7d8e9f001122";

/// Claims of the service account token.
pub const ISSUER: &str = "https://oidc.example.com/standin/";
pub const SUBJECT: &str = "system:serviceaccount:default:app";
pub const AUDIENCE: &str = "api://AzureADTokenExchange";
/// The audience of a token for a cluster's token proxy.
pub const BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// The lifetime of an access token in seconds, as of IMDS.
pub const LIFETIME: u64 = 86_399;

/// A managed identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub client_id: String,
    pub object_id: String,
    pub resource_id: String,
    /// Of the machine itself.
    pub system_assigned: bool,
}

impl Identity {
    /// The identity of the machine itself.
    pub fn system() -> Identity {
        Identity {
            system_assigned: true,
            ..Identity::user("0b7d6c5a-1e2f-4d3c-9b8a-f0e1d2c3b4a5")
        }
    }

    /// A user-assigned one; object id and resource id follow from the client id.
    pub fn user(client_id: &str) -> Identity {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        let hash = hasher.finish();
        let (high, low) = (hash >> 32, hash & 0xffff_ffff_ffff);
        Identity {
            client_id: client_id.to_owned(),
            object_id: format!("{high:08x}-0000-4000-8000-{low:012x}"),
            resource_id: format!(
                "/subscriptions/5ca1ab1e-0000-4000-8000-000000000001/resourcegroups/app/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/{client_id}"
            ),
            system_assigned: false,
        }
    }

    /// The application.
    pub fn application() -> Identity {
        Identity {
            object_id: OBJECT.to_owned(),
            ..Identity::user(APPLICATION)
        }
    }
}

/// An issued token.
#[derive(Clone, Debug)]
pub struct Issued {
    pub audience: String,
    pub client_id: String,
    pub object_id: String,
    pub tenant: String,
}

impl Issued {
    /// The caller in the vault's refusals.
    pub fn caller(&self) -> String {
        let Issued {
            client_id,
            object_id,
            tenant,
            ..
        } = self;
        format!("appid={client_id};oid={object_id};iss=https://sts.windows.net/{tenant}/")
    }
}

/// Issues a token of a tenant for a resource.
pub fn issue(shared: &Shared, identity: &Identity, tenant: &str, resource: &str) -> String {
    let mut inner = shared.lock();
    let now = shared.now();
    let serial = inner.tokens.len();
    let claims = json!({
        "aud": resource, "iss": format!("https://sts.windows.net/{tenant}/"), "iat": now, "nbf": now,
        "exp": now + LIFETIME, "appid": identity.client_id, "appidacr": "2", "idtyp": "app",
        "oid": identity.object_id, "sub": identity.object_id, "tid": tenant, "uti": format!("standin-{serial}"),
        "ver": "1.0", "xms_mirid": identity.resource_id,
    });
    let token = jwt(&claims);
    let issued = Issued {
        audience: resource.to_owned(),
        client_id: identity.client_id.clone(),
        object_id: identity.object_id.clone(),
        tenant: tenant.to_owned(),
    };
    inner.tokens.insert(token.clone(), issued);
    token
}

/// Adds a token for the request's resource to each object without one.
pub fn fill(shared: &Shared, request: &Request, fields: &mut Value) {
    let scope = || {
        let scope = request.form("scope")?;
        Some(scope.trim_end_matches("/.default").to_owned())
    };
    let resource = request
        .query("resource")
        .or_else(|| request.form("resource"))
        .or_else(scope)
        .unwrap_or_default();
    let identity = match request.endpoint {
        Endpoint::Login | Endpoint::TokenProxy => Identity::application(),
        Endpoint::Imds | Endpoint::Platform | Endpoint::Proxy | Endpoint::Vault => {
            Identity::system()
        }
    };
    let objects = match fields {
        Value::Array(objects) => objects.as_mut_slice(),
        object => std::slice::from_mut(object),
    };
    for object in objects.iter_mut().filter_map(Value::as_object_mut) {
        if !object.contains_key("access_token") {
            object.insert(
                "access_token".to_owned(),
                json!(issue(shared, &identity, TENANT, &resource)),
            );
        }
    }
}

/// A service account token; `claims` replace the good claims, or remove them where they are null.
pub fn assertion(now: u64, audience: &str, claims: &Value) -> String {
    let mut all = json!({
        "aud": [audience], "iss": ISSUER, "sub": SUBJECT, "iat": now, "nbf": now, "exp": now + 3_600,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "app"}},
    });
    let object = all.as_object_mut().expect("it was written as one");
    for (name, value) in claims.as_object().into_iter().flatten() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    jwt(&all)
}

/// The claims of a JWT; the signature is not checked.
pub fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970")
        .as_secs()
}

fn jwt(claims: &Value) -> String {
    let header = json!({"alg": "RS256", "kid": "standin", "typ": "JWT"});
    let payload = claims.to_string();
    // 256 bytes, as of RSA, and different for different claims.
    let mut signature = Vec::with_capacity(256);
    for block in 0..32_u8 {
        let mut hasher = DefaultHasher::new();
        (&payload, block).hash(&mut hasher);
        signature.extend_from_slice(&hasher.finish().to_be_bytes());
    }
    let parts = [
        header.to_string().into_bytes(),
        payload.into_bytes(),
        signature,
    ];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}
