//! Who we are, by the network: the way to what issues access tokens, and the tokens.

use std::thread;
use std::time::Instant;

use super::describe;
use super::network::{Job, Slots};
use super::reachability::{Lost, ONE_TRY, look_at_connection, look_at_name, no_address};
use super::report::{Link, State};
use crate::azure::identity::TokenRequest;
use crate::error::{Cause, Error};
use crate::http::Service;
use crate::http::retry::ErrorKind;
use crate::request::plan::Item;

/// What is looked at for the tokens, and the places of what is told.
pub struct Tokens {
    /// What issues them, where a connection can be made to it, and the places of its name and of the connection.
    way: Option<(Service, usize, usize)>,
    /// Each resource with its place.
    resources: Vec<(String, usize)>,
}

impl Job {
    /// What there is to look at.
    pub fn tokens(&self, slots: &mut Slots) -> Tokens {
        let way = self.reader.source.service(&self.http).map(|service| {
            let (name, connection) = slots.add_way(&service, 0);
            (service, name, connection)
        });
        let mut resources: Vec<(String, usize)> = Vec::new();
        for item in &self.plan.items {
            let resource = match item {
                Item::Token(resource) => Some(resource),
                Item::Secret(secret) => secret.resource.as_ref(),
            };
            if let Some(resource) = resource
                && !resources.iter().any(|(known, _)| known == resource)
            {
                resources.push((resource.clone(), slots.add("token", resource, 0)));
            }
        }
        Tokens { way, resources }
    }

    /// Looks at all of it.
    pub fn look_at_identity(&self, tokens: Tokens) {
        let Some((service, name, connection)) = tokens.way else {
            for (link, place) in self.look_at_tokens(&tokens.resources, None, None) {
                self.tell(place, link);
            }
            return;
        };
        let asked = describe::shown(&service);
        let (mut way, mut links) = match look_at_name(&service) {
            Ok((link, place)) => {
                self.tell(name, link);
                let (opened, links) = thread::scope(|scope| {
                    let opened = scope.spawn(|| look_at_connection(&service, &place, Error::from));
                    let links = self.look_at_tokens(&tokens.resources, Some(&asked), None);
                    (opened.join(), links)
                });
                let (link, why) = opened.expect("a panic ends the process");
                let way = (connection, link, why);
                (way, links)
            }
            Err(Lost { name: lost, error }) => {
                let why = no_address(&service);
                self.tell(connection, Link::skipped("connection", asked.as_str(), why));
                let (kind, why) = (error.kind, error.error.to_string());
                let link = Link::failed("name", lost, &error.into());
                // Asking for a token would hang in the same look-up.
                let hangs = (kind == ErrorKind::NameServerTimeout)
                    .then_some("the name servers do not answer");
                let links = self.look_at_tokens(&tokens.resources, Some(&asked), hangs);
                ((name, link, Some(why)), links)
            }
        };
        if let Some(why) = way.2 {
            one_failure(&mut way.1, &why, &mut links);
        }
        for (link, place) in links.into_iter().chain([(way.1, way.0)]) {
            self.tell(place, link);
        }
    }

    /// `why_not` is why they are not asked for.
    fn look_at_tokens(
        &self,
        resources: &[(String, usize)],
        place: Option<&str>,
        mut why_not: Option<&str>,
    ) -> Vec<(Link, usize)> {
        let mut links = Vec::new();
        for (resource, slot) in resources {
            let link = match why_not {
                None => self.look_at_token(resource, place),
                Some(why) => {
                    self.note_token(resource, false);
                    Link::skipped("token", resource.as_str(), why)
                }
            };
            if link.cause == Some(Cause::Unavailable) {
                why_not = Some("there was no token for the one before");
            }
            links.push((link, *slot));
        }
        links
    }

    fn look_at_token(&self, resource: &str, place: Option<&str>) -> Link {
        let began = Instant::now();
        let http = self.http.for_one_try(ONE_TRY);
        let ask = TokenRequest {
            resource,
            tenant: None,
        };
        let token = self.reader.token(&http, &ask);
        let got = token.is_ok();
        let link = match token {
            Ok(token) => describe::token(resource, &token),
            Err(error) => {
                let source = self.reader.source.describe();
                describe::no_token(resource, &source, place, &error)
            }
        };
        self.note_token(resource, got);
        link.took(began.elapsed())
    }
}

/// Where there is no way to what issues tokens, that is the one thing to tell, with what the tokens' errors know to
/// do.
fn one_failure(way: &mut Link, why: &str, links: &mut [(Link, usize)]) {
    let cause = way.cause;
    let same = |link: &Link| {
        let unavailable = cause == Some(Cause::Unavailable);
        link.cause.is_some() && link.cause == cause && (unavailable || link.text.contains(why))
    };
    let mut hint = None;
    for (link, _) in links.iter_mut().filter(|(link, _)| same(link)) {
        hint = hint.or(link.hint.take());
        *link = Link::skipped("token", link.subject.as_str(), "there is no way to it");
    }
    way.hint = hint.or(way.hint.take());
    if links.iter().all(|(link, _)| link.state == State::Good) {
        way.state = State::Warning;
        way.oddity = Some(format!("at first {}", way.text));
        way.cause = None;
    }
}
