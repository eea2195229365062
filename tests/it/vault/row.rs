//! One answer of a vault and the whole of what is to be made of it.

use crate::azure::{Answer, Azure, Door, Identity};
use crate::network::wire::{NAME, counts, one_secret};

/// What is expected of one answer.
pub struct Row {
    id: &'static str,
    answer: Answer,
    code: i32,
    /// Behind the status's number: the name of the status, the code and the text.
    said: &'static str,
    /// Between the text and the ids: caller and address.
    facts: String,
    hint: String,
}

pub fn row(id: &'static str, answer: Answer, code: i32, said: &'static str) -> Row {
    Row {
        id,
        answer,
        code,
        said,
        facts: String::new(),
        hint: String::new(),
    }
}

impl Row {
    pub fn facts(mut self, facts: &str) -> Row {
        self.facts = facts.to_owned();
        self
    }

    pub fn hint(mut self, hint: &str) -> Row {
        self.hint = hint.to_owned();
        self
    }

    /// One try at this answer, the whole of what is said about it, and one request.
    pub fn check(self, azure: &Azure) {
        let before = counts(azure);
        azure.next(Door::Vault, self.answer);
        let outcome = one_secret(azure, &["--timeout", "0"]).outcome();
        let request = azure.requests_at(Door::Vault).pop().unwrap();
        let line = format!(
            "error: reading secret `{NAME}` from {} for S: {}{}; request id {}; client request id {}",
            azure.vault(),
            self.said,
            self.facts,
            request.request_id,
            request.header("x-ms-client-request-id").unwrap()
        );
        let hint = format!("hint: {}", self.hint);
        let mut lines = vec![line.as_str()];
        if !self.hint.is_empty() {
            lines.push(&hint);
        }
        assert_eq!(
            outcome.error(),
            Some(&line["error: ".len()..]),
            "{}",
            self.id
        );
        assert_eq!(outcome.hint().unwrap_or_default(), self.hint, "{}", self.id);
        outcome.failed(self.code, &lines);
        assert_eq!(counts(azure)[2] - before[2], 1, "{}", self.id);
    }
}

pub fn caller() -> String {
    let Identity {
        client_id,
        object_id,
        ..
    } = Identity::system();
    format!("appid={client_id};oid={object_id}")
}
