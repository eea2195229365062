//! The answers that a test put in front of a door's faithful ones: a queue for single requests, and what stands until
//! it is cleared. The more precise one goes first: an answer for a path before one for the door, the queue before what
//! stands.

use std::collections::VecDeque;

use super::Response;

#[derive(Default)]
pub struct Script {
    queue: VecDeque<(String, Response)>,
    standing: Vec<Standing>,
}

struct Standing {
    prefix: String,
    answers: Vec<Response>,
    turn: usize,
}

impl Script {
    /// Queues an answer for the next request whose path starts so; an empty prefix fits every path.
    pub fn next(&mut self, prefix: &str, answer: Response) {
        self.queue.push_back((prefix.to_owned(), answer));
    }

    /// Lets these answers stand, in turn, in place of those that stood for the same prefix.
    pub fn always(&mut self, prefix: &str, answers: Vec<Response>) {
        assert!(
            !answers.is_empty(),
            "an answer that stands must be some answer"
        );
        self.standing.retain(|standing| standing.prefix != prefix);
        self.standing.push(Standing {
            prefix: prefix.to_owned(),
            answers,
            turn: 0,
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Script::default();
    }

    /// The answer for a request to this target, if it is not the faithful one.
    pub fn take(&mut self, target: &str) -> Option<Response> {
        let fits = |prefix: &str| target.starts_with(prefix);
        let precise = self
            .queue
            .iter()
            .position(|(prefix, _)| !prefix.is_empty() && fits(prefix));
        let any = || self.queue.iter().position(|(prefix, _)| prefix.is_empty());
        if let Some(at) = precise.or_else(any) {
            return self.queue.remove(at).map(|(_, answer)| answer);
        }
        let fitting = self
            .standing
            .iter_mut()
            .filter(|standing| fits(&standing.prefix));
        let standing = fitting.max_by_key(|standing| standing.prefix.len())?;
        let answer = standing.answers[standing.turn % standing.answers.len()].clone();
        standing.turn += 1;
        Some(answer)
    }
}
