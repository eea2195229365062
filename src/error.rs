//! The one error type. Its parts stay apart until `main` prints them, so that nothing has to read a message to find out
//! what happened.
//!
//! The numbers are sysexits' (<https://man.freebsd.org/cgi/man.cgi?query=sysexits>), and 126 and 127 as a shell has
//! them (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_08_02>).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// The kind of failure, by who can fix it. Its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The command line is wrong.
    Usage = 64,
    /// No such secret or secret version, or it is disabled.
    NotFound = 66,
    /// A restart may help: the deadline, no identity endpoint yet, DNS, 429, 5xx.
    Unavailable = 69,
    /// A bug of akv-init.
    Internal = 70,
    /// The output cannot be written: a directory, standard output, memory.
    CannotCreate = 73,
    /// A response that is not Azure's, or a certificate that is not trusted.
    Protocol = 76,
    /// Access is refused: 401, 403, an identity that is not assigned, a firewall.
    Denied = 77,
    /// The manifest is wrong: a malformed reference, a duplicate target, half a credential.
    Config = 78,
    /// COMMAND exists and cannot be executed.
    NotExecutable = 126,
    /// COMMAND does not exist.
    CommandNotFound = 127,
}

impl Cause {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        self as u8
    }

    /// Its name in the table of exit codes.
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

/// What went wrong with a request. `http::retry` says for each whether there is another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    // Connections.
    /// DNS has no such name, or no address for it.
    NameNotFound,
    /// The name servers do not answer.
    NameServerTimeout,
    /// Nothing listens on the port, perhaps not yet.
    ConnectionRefused,
    /// No route to the address.
    NoRoute,
    /// No connection in time.
    ConnectTimeout,
    /// A connection, and no response in time.
    ResponseTimeout,
    /// The deadline came before a response: says nothing about the service.
    DeadlineExceeded,
    /// The deadline came before a connection.
    DeadlineExceededConnecting,
    /// The connection broke before the response was complete.
    ConnectionLost,
    /// The proxy refuses the tunnel.
    ProxyRefused,
    /// The proxy does not reach the host.
    ProxyFailed,
    /// The certificate is not trusted, or not valid for this host.
    Certificate,
    /// The certificate has expired, or is not valid yet.
    CertificateExpired,
    /// Not TLS, not HTTP, a redirect, too long, not JSON: not from Azure.
    UnexpectedResponse,
    // Any service.
    /// 429.
    Throttled,
    /// 408 and 5xx; from an identity endpoint that is being updated, 404 and 410.
    ServerError,
    // Identity endpoints.
    /// NMI: 403 and 404 while it assigns the identity to the pod.
    IdentityNotYetAssigned,
    /// App Service's endpoint: 500, for a moment or for a resource that does not exist.
    MaybeBadResource,
    /// The identity does not exist, or there are several and none is selected.
    IdentityNotFound,
    /// There is no managed identity on this machine.
    NotOnAzure,
    // Entra.
    /// The assertion matches no federated credential: intermittent even when the credential exists, and for minutes
    /// after it was created.
    FederationMismatch,
    /// The assertion is outside its validity period: the file may have been replaced since it was read.
    AssertionExpired,
    /// The credential, or the client, is refused.
    CredentialRefused,
    /// The tenant, resource or client in the settings does not exist.
    InvalidSettings,
    // Key Vault.
    /// 403 because a role or an access policy is missing, which may be assigned soon.
    AccessNotGranted,
    /// 401: the access token is not valid yet by the vault's clock.
    TokenNotYetValid,
    /// 401 AKV10046: the vault could not fetch Entra's signing keys.
    SigningKeysUnavailable,
    /// Any other 401 or 403.
    AccessRefused,
    /// No such secret or version, or it is disabled.
    SecretNotFound,
}

/// Why something failed. No part of it ever holds a secret. Boxed, so that a `Result` of a small value stays small.
#[derive(Clone, Debug)]
pub struct Error(Box<Parts>);

/// The parts of an [`Error`].
#[derive(Clone, Debug)]
pub struct Parts {
    /// Decides the exit code.
    pub cause: Cause,
    /// Of a request: what went wrong with the last attempt.
    pub kind: Option<ErrorKind>,
    /// What was being done, to what, for what: the outermost first.
    pub context: Vec<String>,
    /// Why it failed.
    pub reason: String,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What to do about it: an instruction or a question.
    pub hint: Option<String>,
    /// The facts in the message, by name, for programs that read it.
    pub facts: Vec<(&'static str, String)>,
    /// Of a request: how long the service asks to wait before the next one.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with nothing but a reason.
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            cause,
            kind: None,
            context: Vec::new(),
            reason: reason.into(),
            notes: Vec::new(),
            hint: None,
            facts: Vec::new(),
            retry_after: None,
        }))
    }

    /// An error of the manifest with nothing but a reason.
    pub fn config(reason: impl Into<String>) -> Self {
        Error::new(Cause::Config, reason)
    }

    /// Adds what was being done, around the context so far.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context.insert(0, context.into());
        self
    }

    /// Adds a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.maybe_hint(Some(hint.into()))
    }

    /// Sets the hint, or removes it.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Sets the hint by the kind of a request's error, where there is none yet.
    pub fn hint_for(self, hint: impl Fn(ErrorKind) -> Option<String>) -> Self {
        match (self.kind, &self.hint) {
            (Some(kind), None) => self.maybe_hint(hint(kind)),
            _ => self,
        }
    }

    /// Adds a value that a service named as a fact, and as a note where the reason does not have it, if there is one.
    pub fn labeled(self, fact: &'static str, value: Option<&str>) -> Self {
        let error = self.maybe_fact(fact, value);
        match value {
            Some(value) if !error.reason.contains(value) => {
                error.note(format!("{} {value}", fact.replace('_', " ")))
            }
            _ => error,
        }
    }

    /// Adds the ids that Azure's support needs: the service's id of the request, and ours.
    pub fn ids(self, request_id: Option<&str>, client_request_id: &str) -> Self {
        self.labeled("request_id", request_id)
            .labeled("client_request_id", Some(client_request_id))
    }

    /// Adds a fact, if there is one.
    pub fn maybe_fact(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.fact(name, value),
            None => self,
        }
    }

    /// Adds a fact. The first one of a name counts.
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if self.get_fact(name).is_none() {
            self.facts.push((name, value.into()));
        }
        self
    }

    /// The value of a fact.
    pub fn get_fact(&self, name: &str) -> Option<&str> {
        let found = self.facts.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The service's error code, or the name of the cause.
    pub fn code_or_cause(&self) -> &str {
        self.get_fact("refusal").unwrap_or(self.cause.name())
    }
}

impl Deref for Error {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Parts {
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
