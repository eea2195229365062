//! The responses that a test sets in place of an endpoint's own: a queue for single requests, and permanent ones. A
//! response for a path precedes one for the endpoint, and the queue precedes permanent ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Response;

#[derive(Default)]
pub struct Script {
    queue: VecDeque<(String, Response)>,
    permanent: Vec<Permanent>,
    limit: Option<Limit>,
}

/// How many requests the endpoint answers in any window of time.
struct Limit {
    count: usize,
    window: Duration,
    /// When it answered those of the last window.
    answered: VecDeque<Instant>,
    /// The response to all others.
    refusal: Response,
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

    /// Sets the number of requests that get the endpoint's own response in any window of time; others get `refusal`.
    pub fn limit(&mut self, count: usize, window: Duration, refusal: Response) {
        self.limit = Some(Limit {
            count,
            window,
            answered: VecDeque::new(),
            refusal,
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
        if let Some(found) = fitting.max_by_key(|it| it.prefix.len()) {
            let response = found.responses[found.turn % found.responses.len()].clone();
            found.turn += 1;
            return Some(response);
        }
        self.limit.as_mut()?.refuse(Instant::now())
    }
}

impl Limit {
    /// The response to a request beyond the limit.
    fn refuse(&mut self, now: Instant) -> Option<Response> {
        let (window, answered) = (self.window, &mut self.answered);
        while answered.front().is_some_and(|at| *at + window <= now) {
            answered.pop_front();
        }
        if answered.len() >= self.count {
            return Some(self.refusal.clone());
        }
        answered.push_back(now);
        None
    }
}
