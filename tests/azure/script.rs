//! The responses that a test sets in place of an endpoint's own: a queue for single requests, and permanent ones. A
//! response for a path precedes one for the endpoint, and the queue precedes permanent ones.

use std::collections::VecDeque;

use super::Response;

#[derive(Default)]
pub struct Script {
    queue: VecDeque<(String, Response)>,
    permanent: Vec<Permanent>,
}

struct Permanent {
    prefix: String,
    responses: Vec<Response>,
    turn: usize,
}

impl Script {
    /// Queues a response for the next request whose path has this prefix.
    pub fn next(&mut self, prefix: &str, response: Response) {
        self.queue.push_back((prefix.to_owned(), response));
    }

    /// Sets permanent responses, used in turn, for this prefix.
    pub fn always(&mut self, prefix: &str, responses: Vec<Response>) {
        assert!(!responses.is_empty(), "no response");
        self.permanent.retain(|it| it.prefix != prefix);
        self.permanent.push(Permanent {
            prefix: prefix.to_owned(),
            responses,
            turn: 0,
        });
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Script::default();
    }

    /// The response for a request to this target, if a test has set one.
    pub fn take(&mut self, target: &str) -> Option<Response> {
        let fits = |prefix: &str| target.starts_with(prefix);
        let precise = self
            .queue
            .iter()
            .position(|(prefix, _)| !prefix.is_empty() && fits(prefix));
        let any = || self.queue.iter().position(|(prefix, _)| prefix.is_empty());
        if let Some(at) = precise.or_else(any) {
            return self.queue.remove(at).map(|(_, response)| response);
        }
        let fitting = self.permanent.iter_mut().filter(|it| fits(&it.prefix));
        let found = fitting.max_by_key(|it| it.prefix.len())?;
        let response = found.responses[found.turn % found.responses.len()].clone();
        found.turn += 1;
        Some(response)
    }
}
