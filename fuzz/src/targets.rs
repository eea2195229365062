//! What each fuzz target does with its input: call the product, and assert what has to hold for every input.
//!
//! Inputs are text, so that a corpus can be read and written by hand. Where a target needs several parts, each of the
//! first ones is a line.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::LocalKey;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use serde_json::Value as Json;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::azure::identity::assertion::signed_assertion;
use crate::azure::identity::client_certificate::ClientCertificate;
use crate::azure::identity::managed::{Endpoint, ManagedIdentity};
use crate::azure::identity::{
    self, AccessToken, TokenRequest, azure_arc, entra, jwt_payload, managed_endpoints,
};
use crate::azure::key_vault::error::response_error;
use crate::azure::key_vault::list::ListPage;
use crate::azure::key_vault::{VaultClient, challenge};
use crate::date;
use crate::error::{Cause, Error};
use crate::http::certificate::Certificate;
use crate::http::proxy::ProxySettings;
use crate::http::{HttpClient, Response, dns, split_url, tls};
use crate::log::{self, Event};
use crate::output::formats;
use crate::output::supervisor::processes;
use crate::readers;
use crate::request::arguments::Arguments;
use crate::request::cli::{self, Invocation};
use crate::request::environment::{Environment, SETTINGS_PREFIX, check_variable_name};
use crate::request::files::{WriteOptions, check_file_name};
use crate::request::format::FileFormat;
use crate::request::help;
use crate::request::host::{Host, VaultName};
use crate::request::many::{ManyRef, ManySource};
use crate::request::pem::{self, PFX_CONTENT_TYPE};
use crate::request::percent::encode;
use crate::request::plan::{Plan, PlanItem};
use crate::request::reference::options::{PemPart, SecretOptions};
use crate::request::reference::{Reference, SecretRef, check_resource, check_secret_name};
use crate::request::secret_id::SecretId;
use crate::request::settings::{IdentityId, Settings};
use crate::request::supervision::Supervision;
use crate::request::template::Template;
use crate::request::value::{self, StoredSecret};
use crate::secret::Secret;

/// A target, by the name of its program and corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 17] = [
    ("values", values),
    ("references", references),
    ("environment", environment),
    ("command_line", command_line),
    ("challenge", challenge),
    ("vault_responses", vault_responses),
    ("managed_responses", managed_responses),
    ("entra_responses", entra_responses),
    ("dates", dates),
    ("hosts", hosts),
    ("certificates", certificates),
    ("formats", formats),
    ("hosts_file", hosts_file),
    ("proc_stat", proc_stat),
    ("log_lines", log_lines),
    ("pem", pem),
    ("pfx", pfx),
];

/// Stands for a password: no error may hold it. libFuzzer learns it from the comparisons, and uses it elsewhere, too.
pub const CANARY: &str = "c4n4ry";
/// A client secret that every encoding changes. In the corpora it is one of [`with_spellings`].
const CLIENT_SECRET: &str = "c4n4ry~/+ %&=\"\\é.";
/// In the corpora it is `{token}`.
const ACCESS_TOKEN: &str = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJjNG40cnkifQ.c4n4ry-9";

/// The input as text.
fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// The first line of a text, and the rest.
fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Everything in an error that is ever printed.
fn printed(error: &Error) -> String {
    let facts: Vec<&str> = error
        .facts
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    let hint = error.hint.as_deref().unwrap_or_default();
    format!("{error}\n{hint}\n{}", facts.join("\n"))
}

#[track_caller]
fn assert_hides(error: &Error, secret: &str) {
    let printed = printed(error);
    assert!(!printed.contains(secret), "{printed}");
}

/// An error of what the user wrote.
#[track_caller]
fn assert_is_users(error: &Error) {
    assert!(
        matches!(error.cause, Cause::Usage | Cause::Config),
        "{error}"
    );
}

fn env(entries: &[&str]) -> Environment {
    Environment::new(entries.iter().map(OsString::from).collect())
}

fn settings(env: &Environment) -> Settings {
    let arguments = Arguments::parse("get", Vec::new(), env);
    let settings = arguments.and_then(|arguments| Settings::parse(&arguments));
    settings.unwrap_or_else(|error| panic!("{error}"))
}

thread_local! {
    static HTTP: HttpClient = {
        let env = env(&[]);
        HttpClient::build(&env, &settings(&env)).unwrap_or_else(|error| panic!("{error}"))
    };
    static VAULT: (SecretId, VaultClient) = {
        let host = Host::parse("prod.vault.azure.net").unwrap_or_else(|error| panic!("{error}"));
        let vault = HTTP.with(|http| VaultClient::new(http, &settings(&env(&[])), &host));
        let (name, version) = ("db".to_owned(), None);
        (SecretId { host, resource: None, name, version }, vault)
    };
    static ENTRA: entra::EntraClient = {
        let secret = format!("AZURE_CLIENT_SECRET={CLIENT_SECRET}");
        let env = env(&["AZURE_TENANT_ID=contoso.com", "AZURE_CLIENT_ID=3c1f7e52-9d0b-4a5e-8f6d-1b2a39c4d5e6", &secret]);
        entra::EntraClient::build(&env, &settings(&env), false)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    static MANAGED: [(ManagedIdentity, &'static str); 4] = [
        managed(&managed_endpoints::IMDS, ""),
        managed(&managed_endpoints::APP_SERVICE, CLIENT_SECRET_IN_HEADER),
        managed(&managed_endpoints::MSI, CLIENT_SECRET_IN_HEADER),
        managed(&managed_endpoints::ARC, CLIENT_SECRET_IN_HEADER),
    ];
}

/// A header cannot hold the whole of [`CLIENT_SECRET`].
const CLIENT_SECRET_IN_HEADER: &str = "c4n4ry~/+ %&=\"\\.";

fn managed(endpoint: &'static Endpoint, secret: &'static str) -> (ManagedIdentity, &'static str) {
    let secrets = [
        format!("IDENTITY_HEADER={secret}"),
        format!("MSI_SECRET={secret}"),
    ];
    let env = env(&[
        "IDENTITY_ENDPOINT=http://127.0.0.1:1/token",
        "MSI_ENDPOINT=http://127.0.0.1:1/token",
        &secrets[0],
        &secrets[1],
    ]);
    let id = Some(IdentityId::Client("app".to_owned()));
    let identity = ManagedIdentity::build(endpoint, &env, id);
    (identity.unwrap_or_else(|error| panic!("{error}")), secret)
}

/// A response from lines: the status, headers up to an empty line, the body.
fn response(text: &str) -> Response {
    let (status, mut rest) = split_line(text);
    let status = status.trim().parse().unwrap_or(400);
    let mut headers = HeaderMap::new();
    loop {
        let (line, body) = split_line(rest);
        let Some((name, value)) = line.split_once(": ") else {
            let body = if line.is_empty() { body } else { rest };
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            return Response::new(status, headers, body.as_bytes().to_vec());
        };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
        rest = body;
    }
}

/// References in every form: the text of a value, or an argument.
pub fn references(data: &[u8]) {
    let text = text(data);
    let env = env(&["AKV_INIT_VAULT=default"]);
    let settings = settings(&env);
    if let Ok(Some(template)) = Template::detect("NAME", data)
        && !(template.parts.len() == 1 && template.end.is_empty())
    {
        // Nothing but the references is taken out of the text.
        let literals = template.parts.iter().map(|(before, _)| before.len());
        assert!(literals.sum::<usize>() + template.end.len() < data.len());
        assert!(text.contains('{') && text.contains('}'));
    }
    let found = Reference::detect("NAME", &text);
    let parsed = Reference::parse(&text);
    match &found {
        Ok(Some(found)) => assert_eq!(parsed.as_ref().ok(), Some(found)),
        Ok(None) => {
            let lower = text.to_ascii_lowercase();
            assert!(!lower.contains("akv://") && !lower.contains("@microsoft.keyvault("));
        }
        Err(error) => assert_is_users(error),
    }
    match &parsed {
        Ok(Reference::Token(resource)) => {
            assert!(check_resource(resource).is_ok());
            let again = Reference::parse(&format!("entra-token:{resource}"));
            assert_eq!(again.ok(), parsed.as_ref().ok().cloned());
        }
        Ok(Reference::Secret(reference)) => assert_is_canonical(&settings, reference),
        Err(error) => assert_is_users(error),
    }
    let many = ManyRef::parse(&text);
    match &many {
        Ok(reference) => assert_many_is_canonical(reference),
        Err(error) => assert_is_users(error),
    }
    // After a colon there may be a password.
    if text.contains(CANARY) {
        return;
    }
    let with_password = format!("{text}:{CANARY}");
    for error in [
        Reference::detect("NAME", &with_password).err(),
        Reference::parse(&with_password).err(),
        ManyRef::parse(&with_password).err(),
    ] {
        error.inspect(|error| assert_hides(error, CANARY));
    }
}

/// The text of a reference to many values is the same reference.
pub fn assert_many_is_canonical(reference: &ManyRef) {
    let printed = reference.to_string();
    assert_eq!(
        ManyRef::parse(&printed).as_ref().ok(),
        Some(reference),
        "{printed}"
    );
}

/// The canonical form of a reference is the same reference.
fn assert_is_canonical(settings: &Settings, reference: &SecretRef) {
    let id = settings
        .resolve(reference)
        .unwrap_or_else(|error| panic!("{error}"));
    let canonical = id.reference(&reference.options);
    let Ok(Some(Reference::Secret(again))) = Reference::detect("NAME", &canonical) else {
        panic!("{canonical}");
    };
    assert_eq!(again.options, reference.options);
    assert_eq!(
        Reference::parse(&reference.to_string()).ok(),
        Some(Reference::Secret(reference.clone()))
    );
    let again = settings
        .resolve(&again)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(id == again && id.name == again.name, "{canonical}");
    assert_eq!(id.resource, again.resource);
}

/// What a reference makes of a secret. The input: the reference, the secret.
pub fn values(data: &[u8]) {
    let reference = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let secret = data.get(reference.len() + 1..).unwrap_or_default();
    for prefix in [None, Some(""), Some("APP_")] {
        assert_fields(secret, prefix);
    }
    if let Ok(Reference::Secret(reference)) = Reference::parse(&text(reference)) {
        for secret in [secret, &[CANARY.as_bytes(), secret].concat()] {
            assert_value(&reference, secret, None);
        }
    }
}

/// Makes the fields of a secret. No error holds a part of the secret, and no name of a field that is not reserved.
pub fn assert_fields(secret: &[u8], prefix: Option<&str>) {
    let (reference, command) = match prefix {
        Some(prefix) => (format!("akv://kv1/s?prefix={prefix}"), "exec"),
        None => ("akv://kv1/s".to_owned(), "write"),
    };
    let env = env(&[]);
    let args = ["--from", &reference, "x"].map(OsString::from).to_vec();
    let arguments = Arguments::parse(command, args, &env).unwrap_or_else(|error| panic!("{error}"));
    let plan = match command {
        "exec" => Plan::for_exec(&arguments, &mut Err),
        _ => Plan::for_write(&arguments).map(|(plan, _)| plan),
    };
    let mut plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let stored = StoredSecret {
        value: Secret::new(secret.to_vec()),
        content_type: None,
    };
    let PlanItem::Secret(id) = plan.items[0].clone() else {
        panic!("{reference}");
    };
    let made = value::make_fields(&stored, &SecretOptions::default());
    let targets = made.and_then(|fields| {
        let fields = fields.unwrap_or_default();
        plan.expansions[0].field_targets(&id, fields, &plan.name_rules)
    });
    let added = targets.and_then(|targets| {
        let (targets, _): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
        for target in &targets {
            let name = target.name.to_str().expect("UTF-8");
            match command {
                "exec" => assert!(check_variable_name(name).is_ok(), "{name}"),
                _ => assert!(check_file_name(name).is_ok(), "{name}"),
            }
        }
        plan.add_expanded(targets)
    });
    if let Err(error) = added {
        assert_is_users(&error);
        assert_hides(&error, CANARY);
    }
}

/// Makes the value, and returns whether there is one. No error and no warning holds a part of the secret.
pub fn assert_value(reference: &SecretRef, secret: &[u8], content_type: Option<&str>) -> bool {
    let env = env(&["AKV_INIT_VAULT=default"]);
    let id = settings(&env).resolve(reference);
    let id = id.unwrap_or_else(|error| panic!("{error}"));
    let stored = StoredSecret {
        value: Secret::new(secret.to_vec()),
        content_type: content_type.map(str::to_owned),
    };
    let made = value::make(&stored, &reference.options);
    let said = match &made {
        Ok(None) => String::new(),
        Ok(Some(value)) => {
            if reference.options == SecretOptions::default() {
                assert_eq!(value.expose(), secret);
            }
            let warnings = value::warnings(&id, &reference.options, value);
            warnings.into_iter().map(|warning| warning.text).collect()
        }
        Err(error) => {
            assert!(matches!(error.cause, Cause::Config | Cause::NotFound));
            printed(error)
        }
    };
    let reference = reference.to_string();
    assert!(
        !said.contains(CANARY) || reference.contains(CANARY),
        "{said}"
    );
    let words = secret.split(|byte| !byte.is_ascii_alphanumeric());
    let mut words = words.filter(|word| word.len() > 20).map(text);
    assert!(
        !words.any(|word| said.contains(&word) && !reference.contains(&word)),
        "{said}"
    );
    matches!(made, Ok(Some(_)))
}

/// COMMAND's environment. The input: `NAME=VALUE` of the caller's, a line each; an empty line; the name of the variable
/// that gets a secret; the secret.
pub fn environment(data: &[u8]) {
    let text = text(data);
    let (head, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (name, value) = split_line(rest);
    if check_variable_name(name).is_err() || head.contains('\0') {
        return;
    }
    assert!(!name.starts_with(SETTINGS_PREFIX) && !name.starts_with("LD_") && name != "PATH");
    let entries: Vec<OsString> = head.lines().map(OsString::from).collect();
    let caller = Environment::new(entries.clone());
    let secret = StoredSecret {
        value: Secret::new(value.as_bytes().to_vec()),
        content_type: None,
    };
    for trim in [false, true] {
        let expected = match trim {
            true => value
                .strip_prefix('\u{feff}')
                .unwrap_or(value)
                .trim_end_matches(['\r', '\n']),
            false => value,
        };
        let options = SecretOptions {
            trim,
            ..SecretOptions::default()
        };
        let made = value::make(&secret, &options).ok().flatten();
        let made = made.expect("trimming works on every value");
        assert_eq!(made.expose(), expected.as_bytes());
        let child = match caller.for_command(&[(OsStr::new(name), &made)], &["UNSET".into()]) {
            Ok(child) => child,
            Err(error) => {
                assert!(expected.contains('\0') || expected.len() > 100_000);
                assert_is_users(&error);
                continue;
            }
        };
        let start = format!("{name}=");
        let is_assigned = |entry: &[u8]| entry.starts_with(start.as_bytes());
        let assigned = format!("{start}{expected}");
        let assigned_to: Vec<&CString> = child
            .iter()
            .filter(|entry| is_assigned(entry.as_bytes()))
            .collect();
        assert_eq!(assigned_to.len(), 1);
        assert_eq!(assigned_to[0].as_bytes(), assigned.as_bytes());
        let others = child.iter().map(|entry| entry.as_bytes());
        let others = others.filter(|entry| !is_assigned(entry));
        let kept = entries.iter().map(|entry| entry.as_bytes());
        let kept = kept.filter(|entry| {
            let is_own = entry.starts_with(SETTINGS_PREFIX.as_bytes()) && entry.contains(&b'=');
            !is_assigned(entry) && !is_own && !entry.starts_with(b"UNSET=")
        });
        assert!(others.eq(kept));
    }
}

/// The command line, the settings and the identity. The input: a word of it a line; a line that starts with `$` is a variable.
pub fn command_line(data: &[u8]) {
    let mut words = Vec::new();
    let mut entries = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        match line.strip_prefix(b"$") {
            Some(entry) => entries.push(OsStr::from_bytes(entry).to_owned()),
            None => words.push(OsStr::from_bytes(line).to_owned()),
        }
    }
    let env = Environment::new(entries);
    let arguments = match cli::parse(words.clone(), &env) {
        Ok(Invocation::Command(arguments)) => arguments,
        Ok(Invocation::Help(command)) => return assert!(!help::help(command).is_empty()),
        Ok(Invocation::Version) => return,
        Err(error) => return assert_eq!(error.cause, Cause::Usage, "{error}"),
    };
    // COMMAND and its arguments are passed on as they are.
    assert!(words.ends_with(&arguments.operands));
    let plan = match plan(&arguments) {
        Ok(Some(plan)) => plan,
        Ok(None) => return,
        Err(error) => return assert_is_users(&error),
    };
    let shown = match identity::select(&env, &plan.settings) {
        Ok(selection) => format!("{} {}", selection.source.describe(), selection.reason),
        Err(error) => {
            assert_is_users(&error);
            printed(&error)
        }
    };
    let has_canary = |text: &str| text.contains(CANARY);
    let is_in_a_secret = ["AZURE_CLIENT_SECRET", "IDENTITY_HEADER", "MSI_SECRET"]
        .iter()
        .any(|name| {
            env.get(name)
                .and_then(OsStr::to_str)
                .is_some_and(has_canary)
        });
    if is_in_a_secret && text(data).matches(CANARY).count() == 1 {
        assert!(!has_canary(&shown), "{shown}");
    }
}

/// All of the command that is parsed before the first request.
fn plan(arguments: &Arguments<'_>) -> Result<Option<Plan>, Error> {
    let plan = match arguments.command {
        "install" => return Ok(None),
        "write" => {
            let options = WriteOptions::parse(arguments)?;
            assert!(options.mode <= 0o777);
            let (plan, files) = Plan::for_write(arguments)?;
            for (at, file) in files.iter().enumerate() {
                let is_below = |part: &str| !part.is_empty() && !part.starts_with("..");
                assert!(file.path.split('/').all(is_below), "{}", file.path);
                assert!(files[..at].iter().all(|other| other.path != file.path));
                assert!(
                    file.target_indices
                        .iter()
                        .all(|at| *at < plan.targets.len())
                );
            }
            plan
        }
        "get" => Plan::for_get(arguments)?,
        "token" => Plan::for_token(arguments)?,
        _ => {
            Supervision::parse(arguments)?;
            Plan::for_exec(arguments, &mut Err)?
        }
    };
    for item in &plan.items {
        match item {
            PlanItem::Token(resource) => check_resource(resource)?,
            PlanItem::List(vault) => {
                let name = VaultName::Host(vault.host.clone());
                assert!(plan.settings.resolve_vault(Some(&name), "*")? == *vault);
            }
            PlanItem::Secret(id) => {
                let canonical = id.reference(&SecretOptions::default());
                let reference = Reference::parse(&canonical)?;
                let Reference::Secret(reference) = reference else {
                    panic!("{canonical}");
                };
                assert!(plan.settings.resolve(&reference)? == *id, "{canonical}");
            }
        }
    }
    for part in plan.targets.iter().flat_map(|target| &target.parts) {
        assert!(part.item_index < plan.items.len());
    }
    for expansion in &plan.expansions {
        assert_many_is_canonical(&expansion.reference);
        let is_list = matches!(plan.items[expansion.item_index], PlanItem::List(_));
        let source = &expansion.reference.source;
        assert_eq!(is_list, matches!(source, ManySource::Secrets(_)));
    }
    Ok(Some(plan))
}

/// A vault's `WWW-Authenticate`. The input: the vault's host, the header.
pub fn challenge(data: &[u8]) {
    let text = text(data);
    let (host, header) = split_line(&text);
    let Some(request) = challenge::parse(header) else {
        return;
    };
    assert!(header.contains(&request.resource));
    if let Some(tenant) = &request.tenant {
        // It becomes a part of a path.
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        assert!(tenant.bytes().all(is_safe) && !tenant.starts_with('.') && !tenant.is_empty());
        assert!(header.contains(tenant));
    }
    let Ok(host) = Host::parse(host) else {
        return;
    };
    if challenge::parse_for(&host, header).is_ok() {
        let rest = request
            .resource
            .strip_prefix("https://")
            .unwrap_or_default();
        let domain = rest.split(['/', ':']).next().unwrap_or_default();
        let parent = format!(".{}", domain.to_ascii_lowercase());
        assert!(parent.len() > 1 && host.name.ends_with(&parent), "{parent}");
    }
}

/// What a vault answers. The input: see [`response`].
pub fn vault_responses(data: &[u8]) {
    let text = text(data).replace("{token}", ACCESS_TOKEN);
    let response = response(&text);
    HTTP.with(|http| {
        VAULT.with(|(secret, vault)| {
            assert_retry_after(&response);
            let token = Secret::new(ACCESS_TOKEN.to_owned());
            let (token_sent, host) = (Some(&token), &secret.host);
            let address = Some([10, 20, 0, 7].into());
            let error = response_error(&response, token_sent, address, host, http, "id");
            assert_hides(&error, ACCESS_TOKEN);
            match vault.parse_bundle(&response, secret) {
                Ok(bundle) => {
                    assert!(response.text().len() >= bundle.stored.value.expose().len());
                    assert!(response.text().to_ascii_lowercase().contains("db"));
                }
                Err(error) => assert_hides(&error, CANARY),
            }
            if let Ok(page) = ListPage::parse(response.json(), host) {
                assert!(page.secrets.len() <= page.count);
                for secret in &page.secrets {
                    assert!(check_secret_name(&secret.name).is_ok());
                }
                // Behind the origin of the vault it leads nowhere else.
                if let Some(next) = page.next {
                    let url = format!("https://{host}{next}");
                    let uri: ureq::http::Uri = url.parse().expect("a URL");
                    assert_eq!(uri.host(), Some(host.name.as_str()));
                    assert_eq!(uri.port_u16(), None);
                }
            }
        });
    });
}

fn assert_retry_after(response: &Response) {
    if let Some(pause) = response.retry_after() {
        // A date has a year of at most 9999.
        assert!(pause.as_secs() < 8_000 * 366 * 86_400);
    }
}

/// The parts of a response of every source of tokens. No error holds any part of a token.
fn assert_token(response: &Response) {
    let body = response.json();
    match AccessToken::from_body(body.clone()) {
        Ok(token) => {
            let value = token.value.expose();
            assert!(!value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            date::format(token.expires_on);
            if let Some(claims) = jwt_payload(&token.value) {
                let _ = claims["oid"].as_str();
            }
        }
        Err(error) => assert_hides(&error, CANARY),
    }
}

/// The input with a secret as servers may repeat it in place of `{0}` to `{5}`, inside a JSON string; and these spellings: as
/// it is, as forms and as JSON.
fn with_spellings(data: &[u8], secret: &str) -> (String, [String; 6]) {
    let encoded = encode(secret);
    let every_byte = secret.bytes().map(|byte| format!("%{byte:02x}"));
    let every_unit = secret.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
    let in_json = |text: &str| {
        let quoted = Json::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let spellings = [
        secret.to_owned(),
        encoded.replace("%20", "+"),
        encoded,
        every_byte.collect(),
        in_json(secret),
        every_unit.collect(),
    ];
    let replace = |text: String, (index, spelling): (usize, &String)| {
        text.replace(&format!("{{{index}}}"), &in_json(spelling))
    };
    let text = spellings.iter().enumerate().fold(text(data), replace);
    (text, spellings)
}

/// What the endpoints of managed identities answer. The input: see [`response`] and [`with_spellings`].
pub fn managed_responses(data: &[u8]) {
    let request = TokenRequest::new("https://resource");
    MANAGED.with(|identities| {
        for (identity, secret) in identities {
            let (text, spellings) = with_spellings(data, secret);
            let response = response(&text);
            let body = response.json();
            let error = identity.response_error(&response, &body, secret, &request);
            // IMDS gets no secret, so that a response cannot repeat one.
            for spelling in spellings.iter().filter(|_| !secret.is_empty()) {
                assert_hides(&error, spelling);
            }
            assert_retry_after(&response);
            assert_token(&response);
            if let Ok(path) = azure_arc::key_path(&response) {
                let directory = path.parent().and_then(Path::to_str);
                assert_eq!(directory, Some("/var/opt/azcmagent/tokens"));
                assert!(path.file_name().is_some_and(|name| name.len() > 4));
            }
            if azure_arc::check_identity(&body, "client_id", "app").is_ok() {
                assert!(response.text().to_ascii_lowercase().contains("p"));
            }
        }
    });
}

/// What Entra answers. The input: see [`response`] and [`with_spellings`].
pub fn entra_responses(data: &[u8]) {
    let (text, spellings) = with_spellings(data, CLIENT_SECRET);
    let response = response(&text);
    let body = response.json();
    ENTRA.with(|entra| {
        let request = TokenRequest::new("https://resource");
        let secret = Secret::new(CLIENT_SECRET.to_owned());
        let error = entra.response_error(&response, &body, &request, &secret);
        for spelling in &spellings {
            assert_hides(&error, spelling);
        }
    });
    assert_token(&response);
}

/// Dates in every layout. The input: a date, or the eight bytes of a time.
pub fn dates(data: &[u8]) {
    let text = text(data);
    let times = [
        date::parse_date_time(&text),
        date::parse_http_date(&text),
        data.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)),
    ];
    for time in times.into_iter().flatten() {
        let shown = date::format(time);
        let parsed = date::parse_date_time(shown.trim_end_matches(" UTC"));
        let last = 253_402_300_799;
        let first = -62_135_596_800;
        assert_eq!(parsed, Some(time.clamp(first, last)), "{shown}");
    }
}

/// Hosts, URLs and proxies. The input: `HTTPS_PROXY`, `NO_PROXY`, a host or URL.
pub fn hosts(data: &[u8]) {
    let text = text(data);
    let (proxy, rest) = split_line(&text);
    let (no_proxy, host_or_url) = split_line(rest);
    assert_eq!(
        percent_decode_str(&encode(host_or_url)).collect::<Vec<u8>>(),
        host_or_url.as_bytes()
    );
    HTTP.with(|http| {
        if let Some((origin, path)) = split_url(host_or_url) {
            assert!(path.starts_with('/'));
            assert_eq!(
                format!("{origin}{path}").trim_end_matches('/'),
                host_or_url.trim_end_matches('/')
            );
            http.local_service(origin);
        }
        match VaultName::parse_option(host_or_url) {
            Ok(VaultName::Host(host)) => assert_is_host(&host, http),
            Ok(VaultName::Short(name)) => assert!((3..=24).contains(&name.len())),
            Err(error) => assert_is_users(&error),
        }
        let Ok(host) = Host::parse(host_or_url) else {
            return;
        };
        assert_is_host(&host, http);
        let proxy_of = |proxy: &str, no_proxy: &str| {
            let entries = [
                format!("HTTPS_PROXY={proxy}"),
                format!("no_proxy={no_proxy}"),
            ];
            let settings = ProxySettings::from_env(&env(&entries.each_ref().map(String::as_str)))?;
            Ok::<bool, Error>(settings.proxy_for(&host).is_some())
        };
        match proxy_of(proxy, no_proxy) {
            Ok(is_used) => {
                assert!(!(is_used && host.name == "localhost"));
                assert!(!is_used || proxy_of(proxy, "").is_ok_and(|is_used| is_used));
                assert!(proxy_of(proxy, &format!("{no_proxy},*")).is_ok_and(|is_used| !is_used));
                let with_host = format!("{no_proxy},{}:{}", host.name, host.port);
                assert!(
                    proxy_of(proxy, &with_host).is_ok_and(|is_used| !is_used),
                    "{host}"
                );
            }
            Err(error) => assert_is_users(&error),
        }
        if let Err(error) = proxy_of(&format!("{proxy}{CANARY}"), no_proxy)
            && !proxy.contains(CANARY)
        {
            assert_hides(&error, CANARY);
        }
    });
}

#[track_caller]
fn assert_is_host(host: &Host, http: &HttpClient) {
    let again = Host::parse(&host.to_string());
    assert_eq!(again.ok().as_ref(), Some(host));
    assert!(host.port > 0 && host.name == host.name.to_ascii_lowercase());
    http.remote_service(host);
}

/// A certificate in DER, or a file in PEM.
pub fn certificates(data: &[u8]) {
    if let Some(certificate) = Certificate::parse(data) {
        // The names that count for TLS are named.
        if let Ok(verified) = webpki::EndEntityCert::try_from(&CertificateDer::from(data)) {
            let names = &certificate.names;
            for name in verified.valid_dns_names() {
                let is_shown = |shown: &String| shown.split(" (").next() == Some(name);
                assert!(names.iter().any(is_shown), "{name}: {names:?}");
            }
        }
        certificate.names_summary();
        let name = certificate.names.first();
        // A name that starts with `*.` is for hosts below it.
        if let Some(name) = name.filter(|name| !name.starts_with("*.")) {
            assert_eq!(certificate.name_matching(name), Some(name.as_str()));
        }
        for time in [certificate.not_before, certificate.not_after] {
            let parsed = date::parse_date_time(date::format(time).trim_end_matches(" UTC"));
            assert_eq!(parsed, Some(time));
        }
    }
    // The start of a file decides what it is, so all that follows may be a key.
    let is_pem = |word: &&[u8]| word.len() > 20 && word.iter().all(u8::is_ascii_alphanumeric);
    let words: Vec<String> = data
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(is_pem)
        .map(text)
        .collect();
    let assert_hides_file = |error: Error| {
        let printed = printed(&error);
        assert!(
            !words.iter().any(|word| printed.contains(word)),
            "{printed}"
        );
    };
    if let Err(error) = tls::client_config_for_cas(data) {
        assert_hides_file(error);
    }
    let file_error = |why: &str| Error::config(why);
    let path = Path::new("client.pem");
    match ClientCertificate::parse(data, "", path, file_error) {
        Ok(certificate) => {
            // A damaged key may only be noticed when it signs.
            let assertion = signed_assertion(&certificate, "app", "https://authority", true);
            if let Some(assertion) = assertion {
                let claims = jwt_payload(&assertion).expect("an assertion is a JWT");
                assert_eq!(claims["iss"], "app");
            }
        }
        Err(error) => assert_hides_file(error),
    }
}

/// Files that hold several secrets: every reader gets every value back. The input: a name, a value.
pub fn formats(data: &[u8]) {
    let text = text(data);
    let (name, value) = split_line(&text);
    let entries = [(name, value), ("LAST", value)];
    let expected: Vec<(String, String)> = entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for format in [FileFormat::Dotenv, FileFormat::K8sEnv, FileFormat::Json] {
        if let Err(error) = format.check_key(name) {
            assert_is_users(&error);
            continue;
        }
        let readers: &[readers::Reader] = match format {
            FileFormat::Dotenv => &[readers::shell, readers::systemd, readers::python_dotenv],
            FileFormat::K8sEnv => &[readers::kubelet],
            FileFormat::Json if name == "LAST" => continue,
            FileFormat::Json => &[readers::json],
        };
        let entries = entries.map(|(name, value)| (name, value.as_bytes()));
        match formats::render(format, &entries) {
            Ok(file) => {
                for (at, reader) in readers.iter().enumerate() {
                    let file = str::from_utf8(file.expose()).expect("a file is text");
                    let read = reader(file);
                    assert_eq!(read.as_ref(), Some(&expected), "{format:?}, reader {at}");
                }
            }
            Err((_, error)) => assert_is_users(&error),
        }
        let with_canary = format!("{value}{CANARY}");
        if let Err((_, error)) = formats::render(format, &[(name, with_canary.as_bytes())])
            && !text.contains(CANARY)
        {
            assert_hides(&error, CANARY);
        }
    }
}

/// /etc/hosts. The input: a host, the file. The answers of name servers are the C library's to parse.
pub fn hosts_file(data: &[u8]) {
    let text = text(data);
    let (host, file) = split_line(&text);
    let found = dns::parse_hosts_file(file, host);
    let upper = dns::parse_hosts_file(file, &host.to_ascii_uppercase());
    assert_eq!(found, upper);
    assert!(found.len() <= file.lines().count());
    let one = format!("# {file}\n").replace('\n', " ");
    assert!(dns::parse_hosts_file(&one, host).is_empty());
    if !host.is_empty() && !host.contains(|c: char| c == '#' || c.is_whitespace()) {
        let more = format!("{file}\n10.1.2.3\tother {host} # {host}");
        let more = dns::parse_hosts_file(&more, host);
        assert_eq!(more.len(), found.len() + 1);
        assert_eq!(more.last(), Some(&[10, 1, 2, 3].into()));
    }
}

/// /proc/PID/stat. The input: such a line, whose name may hold anything.
pub fn proc_stat(data: &[u8]) {
    if let Some(process) = processes::parse_stat(data) {
        let (id, _) = process.key();
        assert_eq!(id, process.id);
        assert!(text(data).contains(&process.name));
    }
    let name = text(data);
    let zeros = "0 ".repeat(16);
    let line = format!("7 ({name}) T 5 6 {zeros}99 0\n");
    let process = processes::parse_stat(line.as_bytes()).expect("a process may have any name");
    assert_eq!(process.name, name);
    assert_eq!((process.key(), process.group_id), ((7, 99), 6));
    assert!(process.is_stopped() && !process.is_zombie());
}

/// Texts of servers in lines of the log. The input: two texts to hide, the text of the server.
pub fn log_lines(data: &[u8]) {
    let text = text(data);
    let (first, rest) = split_line(&text);
    let (second, text) = split_line(rest);
    // Longer ones only cost time: each is looked for at every character, and each comparison is recorded.
    let hidden = [first, second].map(|secret| secret.get(..40).unwrap_or(secret));
    let excerpt = log::excerpt(text, &hidden);
    assert!(excerpt.chars().count() <= 301 && !excerpt.contains('\n'));
    assert_eq!(log::excerpt(&excerpt, &[]), excerpt);
    for shown in [&excerpt, &log::redact(text, &hidden)] {
        assert!(!shown.contains("eyJ"), "{shown}");
        for secret in hidden {
            // Any other one can be found in `[hidden]`, or at its edges.
            let is_distinct = !secret.contains(['[', ']', '…']) && !"hidden".contains(secret);
            assert!(!(is_distinct && shown.contains(secret)), "{shown}");
        }
    }
    let line = log::to_single_line(text);
    assert_eq!(line.chars().count(), text.chars().count());
    assert_eq!(log::to_single_line(&line), line);
    assert!(!line.contains(char::is_control));
    let line = log::text_line("error: ", text);
    assert!(line.len() <= 4_095 && line.starts_with("akv-init: error: "));
    assert!(!line.contains(char::is_control));
    let event = Event::new(text).fact("fact", first).fact("hint", second);
    let line = log::json_line("error", event);
    assert!(line.len() <= 4_095 && !line.contains(char::is_control));
    let object: Json = serde_json::from_str(&line).expect("a line is an object");
    assert_eq!(object["level"], "error");
}

/// The value of a secret that holds PEM.
pub fn pem(data: &[u8]) {
    assert_pem(data, None);
}

/// A PFX, which a secret holds in base64.
pub fn pfx(data: &[u8]) {
    assert_pem(
        BASE64_STANDARD.encode(data).as_bytes(),
        Some(PFX_CONTENT_TYPE),
    );
}

/// Each part is PEM, which gives itself again. No error holds a line of the secret.
fn assert_pem(value: &[u8], content_type: Option<&str>) {
    let all = pem::select(value, content_type, PemPart::All);
    for part in [PemPart::Chain, PemPart::Leaf, PemPart::Ca, PemPart::Key] {
        // A part is only missing, if the whole is read.
        let error = match (&all, pem::select(value, content_type, part)) {
            (Ok(all), Ok(text)) => {
                let part_of_all = pem::select(all, None, part);
                assert_eq!(part_of_all.ok().as_ref(), Some(&text), "{part:?}");
                continue;
            }
            (Ok(_), Err(error)) => {
                assert_eq!(error.cause, Cause::NotFound);
                error
            }
            (Err(_), Ok(_)) => panic!("{part:?} of nothing"),
            (Err(_), Err(error)) => error,
        };
        let printed = printed(&error);
        let words = value.split(|byte| !byte.is_ascii_alphanumeric());
        let mut words = words.filter(|word| word.len() > 20).map(text);
        assert!(!words.any(|word| printed.contains(&word)), "{printed}");
    }
}
