//! The one error type. Its parts are kept separate until `main` prints them, so that no code has to parse a message.
//!
//! The exit codes are those of sysexits (<https://man.freebsd.org/cgi/man.cgi?query=sysexits>); 126 and 127 are a shell's
//! (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_08_02>).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// The hint for a process or a thread that cannot be started.
pub const PROCESS_LIMITS_HINT: &str =
    "raise the container's limit on processes (pids) or on memory";

/// Why the run failed, grouped by who can fix it. The number of each cause is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The command line is wrong.
    Usage = 64,
    /// No such secret or secret version, or it is disabled or expired.
    NotFound = 66,
    /// A restart may help: the deadline, no identity endpoint yet, DNS, 429, 5xx.
    Unavailable = 69,
    /// A bug of akv-init.
    Internal = 70,
    /// The output cannot be written: a directory, standard output, memory.
    CannotCreate = 73,
    /// A response that is not Azure's, or a certificate that is not trusted.
    Protocol = 76,
    /// Access is denied: 401, 403, an identity that is not assigned, a firewall.
    Denied = 77,
    /// The configuration is wrong: a malformed reference, a duplicate target, half a credential.
    Config = 78,
    /// COMMAND exists, but cannot be executed.
    NotExecutable = 126,
    /// COMMAND does not exist.
    CommandNotFound = 127,
}

impl Cause {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        self as u8
    }

    /// The name of the cause in the table of docs/troubleshooting.md and in the field `cause` of JSON lines.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Usage => "usage",
            Cause::NotFound => "not found",
            Cause::Unavailable => "unavailable",
            Cause::Internal => "internal",
            Cause::CannotCreate => "cannot create",
            Cause::Protocol => "protocol",
            Cause::Denied => "denied",
            Cause::Config => "config",
            Cause::NotExecutable => "not executable",
            Cause::CommandNotFound => "command not found",
        }
    }
}

/// What went wrong with a request to a service. For each of these, `http::retry` decides whether the request is
/// repeated, and which [`Cause`] the error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    // Connections.
    /// The host name does not exist in DNS, or has no address.
    NameNotFound,
    /// The name servers do not answer.
    NameServerTimeout,
    /// Nothing listens on the port, perhaps not yet.
    ConnectionRefused,
    /// No route to the address.
    NoRoute,
    /// The connection was not established in time.
    ConnectTimeout,
    /// The connection was established, but no response came in time.
    ResponseTimeout,
    /// The deadline passed before a response came, which says nothing about the service.
    DeadlineExceeded,
    /// The deadline passed before the connection was established.
    DeadlineExceededWhileConnecting,
    /// The connection broke before the response was complete.
    ConnectionLost,
    /// The proxy refuses the tunnel.
    ProxyRefused,
    /// The proxy cannot reach the host.
    ProxyFailed,
    /// The certificate is not trusted, or not valid for this host.
    Certificate,
    /// The certificate has expired, or is not valid yet.
    CertificateExpired,
    /// The response cannot be Azure's: not TLS, not HTTP, a redirect, too long, not JSON.
    UnexpectedResponse,
    // Any service.
    /// Status 429.
    Throttled,
    /// Status 408 or 5xx; from an identity endpoint that is being updated, also 404 or 410.
    ServerError,
    // Identity endpoints.
    /// Status 403 or 404 from NMI (aad-pod-identity), while it assigns the identity to the pod.
    IdentityNotYetAssigned,
    /// A server error that may be permanent, such as App Service's 500 for a resource that the user named.
    PossiblyPermanent,
    /// A refusal that may be temporary: Entra may not know a new application yet, for example.
    PossiblyTemporary,
    /// The identity does not exist; or there are several, and the user selected none of them.
    IdentityNotFound,
    /// There is no managed identity on this machine.
    NoManagedIdentity,
    // Entra.
    /// The assertion matches no federated credential. Entra reports this for minutes after a federated credential was
    /// created, and sometimes later.
    FederationMismatch,
    /// The assertion has expired or is not valid yet. Its file may have been replaced after it was read.
    AssertionExpired,
    /// The service refuses the credential or the client id.
    CredentialRefused,
    /// A setting is wrong: the tenant or the resource does not exist, or a file cannot be used.
    InvalidSettings,
    // Key Vault.
    /// Status 403: the identity has no role or access policy for the secret, or does not have it yet.
    MissingPermission,
    /// Status 401: the access token is not valid yet by the vault's clock.
    TokenNotYetValid,
    /// Status 401: the vault rejects the access token as expired, revoked or forged. It may accept a new token.
    TokenRejected,
    /// Status 401 with AKV10046: the vault could not fetch Entra's signing keys.
    SigningKeysUnavailable,
    /// Any other 401 or 403, such as from the vault's firewall. Waiting does not help.
    AccessRefused,
    /// The secret or the version does not exist, is disabled, has expired, or is not valid yet.
    SecretNotFound,
}

/// Why something failed. No part of an error ever contains a secret. Boxed, so that a `Result` with a small value
/// stays small.
#[derive(Clone, Debug)]
pub struct Error(Box<ErrorParts>);

/// The parts of an [`Error`].
#[derive(Clone, Debug)]
pub struct ErrorParts {
    /// Why the run fails; decides the exit code.
    pub cause: Cause,
    /// What went wrong with the last attempt of a request; `None` if the error is not about a request.
    pub request_failure: Option<RequestFailure>,
    /// The operations that failed, the outermost first: "reading secret `db` from HOST for DB_PASSWORD".
    pub context: Vec<String>,
    /// Why the operation failed.
    pub reason: String,
    /// More about the failure; printed after the reason.
    pub notes: Vec<String>,
    /// What the user can do about the error: an instruction or a question.
    pub hint: Option<String>,
    /// The facts in the message, as names and values, for programs that read JSON lines.
    pub facts: Vec<(&'static str, String)>,
    /// How long the service asks to wait before the next request; `None` if it does not ask.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with a cause and a reason only.
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Error(Box::new(ErrorParts {
            cause,
            request_failure: None,
            context: Vec::new(),
            reason: reason.into(),
            notes: Vec::new(),
            hint: None,
            facts: Vec::new(),
            retry_after: None,
        }))
    }

    /// An error in the configuration, with a reason only.
    pub fn config(reason: impl Into<String>) -> Self {
        Error::new(Cause::Config, reason)
    }

    /// Adds an operation, outside those that the context has so far.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context.insert(0, context.into());
        self
    }

    /// Adds a note, printed after the reason.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.set_hint(Some(hint.into()))
    }

    /// Sets the hint; `None` removes it.
    pub fn set_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Sets the hint that `hint` returns for the request failure, unless the error already has a hint or is not about
    /// a request.
    pub fn hint_if_none(self, hint: impl Fn(RequestFailure) -> Option<String>) -> Self {
        match (self.request_failure, &self.hint) {
            (Some(failure), None) => self.set_hint(hint(failure)),
            _ => self,
        }
    }

    /// Adds a value as a fact; also as a note, unless the reason contains it. `None` adds nothing.
    pub fn fact_and_note(self, fact: &'static str, value: Option<&str>) -> Self {
        let error = self.maybe_fact(fact, value);
        match value {
            Some(value) if !error.reason.contains(value) => {
                error.note(format!("{} {value}", fact.replace('_', " ")))
            }
            _ => error,
        }
    }

    /// Adds the ids that Azure's support asks for: the id that the service gave the request, and the id that this
    /// client gave it.
    pub fn request_ids(self, request_id: Option<&str>, client_request_id: &str) -> Self {
        self.fact_and_note("request_id", request_id)
            .fact_and_note("client_request_id", Some(client_request_id))
    }

    /// Adds a fact. `None` adds nothing.
    pub fn maybe_fact(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.fact(name, value),
            None => self,
        }
    }

    /// Adds a fact, unless the error already has one of this name.
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if self.get_fact(name).is_none() {
            self.facts.push((name, value.into()));
        }
        self
    }

    /// The value of the fact with this name; `None` if there is no such fact.
    pub fn get_fact(&self, name: &str) -> Option<&str> {
        let fact = self.facts.iter().find(|(known, _)| *known == name);
        fact.map(|(_, value)| value.as_str())
    }

    /// The service's error code; without one, the name of the cause.
    pub fn code_or_cause(&self) -> &str {
        self.get_fact("refusal").unwrap_or(self.cause.name())
    }
}

impl Deref for Error {
    type Target = ErrorParts;

    fn deref(&self) -> &ErrorParts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorParts {
        &mut self.0
    }
}

/// `CONTEXT: REASON; NOTE; NOTE`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in &self.context {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.reason)?;
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}
