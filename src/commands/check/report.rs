//! What was found: lines for people, or one object a link.
//!
//! A terminal may have 80 columns. What is only looked at is folded there; what is broken, and the verdict, stay in one
//! line, however long: they are copied into tickets, and found by `grep` and `tail`.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Cause, Error};
use crate::log;

/// Where the text of a link begins.
const MARGIN: usize = 20;
/// Where it is folded.
const WIDTH: usize = 80;
/// The end of a duration, while it must not be folded.
const UNIT: &str = "\u{a0}ms)";
const VERDICT: &str = "verdict";

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Broken, whatever else is.
    Failed,
    /// As it should be.
    Good,
    /// Not looked at, since something before it is broken.
    Skipped,
    /// It works, and will perhaps not go on to.
    Warning,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Failed => "FAILED",
            State::Good => "ok",
            State::Skipped => "skipped",
            State::Warning => "warning",
        }
    }
}

/// When `exec` comes to a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before any request.
    #[default]
    Before,
    /// Tokens, and the vaults for which there is one: all at the same time.
    Asking,
    /// Vaults that wait for a token that never comes.
    Waiting,
    /// When everything else was good.
    Becoming,
}

/// One link of the chain.
#[derive(Debug)]
pub struct Link {
    /// What kind of link, as in `token`.
    pub kind: &'static str,
    /// Which one of its kind: a host, a target.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// What there is to say, in one line.
    pub text: String,
    /// The part of it that is a warning.
    pub oddity: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// What the text is made of, for programs.
    pub facts: Vec<(&'static str, Value)>,
    /// How long it took, where that says something.
    pub took: Option<Duration>,
    /// Why `exec` would end, where it would because of this link.
    pub cause: Option<Cause>,
    /// When `exec` comes to it, and which of several things comes first then.
    pub turn: (Phase, usize),
    /// Whether it failed because of what time it is.
    pub is_of_time: bool,
}

impl Link {
    /// A link that is as it should be.
    pub fn good(kind: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Link {
        Link {
            kind,
            subject: subject.into(),
            state: State::Good,
            text: text.into(),
            oddity: None,
            hint: None,
            facts: Vec::new(),
            took: None,
            cause: None,
            turn: (Phase::Before, 0),
            is_of_time: false,
        }
    }

    /// A link at which `exec` would end.
    pub fn failed(kind: &'static str, subject: impl Into<String>, error: &Error) -> Link {
        Link {
            state: State::Failed,
            hint: error.hint.as_deref().map(str::to_owned),
            cause: Some(error.cause),
            ..Link::good(kind, subject, error.to_string())
        }
    }

    /// A link that was not looked at.
    pub fn skipped(kind: &'static str, subject: impl Into<String>, why: &str) -> Link {
        Link {
            state: State::Skipped,
            ..Link::good(kind, subject, why)
        }
    }

    /// The same as a warning.
    pub fn warn(mut self, oddity: &str, hint: Option<&str>) -> Link {
        self.state = State::Warning;
        self.text = match self.text.as_str() {
            "" => oddity.to_owned(),
            before => format!("{before}; {oddity}"),
        };
        self.oddity = Some(oddity.to_owned());
        self.hint = hint.map(str::to_owned).or(self.hint);
        self
    }

    /// The same with something to do, where nothing was said.
    pub fn or_hint(mut self, hint: &str) -> Link {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// The same with something more to know for whoever does it.
    pub fn and_hint(mut self, more: &str) -> Link {
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint}; {more}"),
            None => more.to_owned(),
        });
        self
    }

    /// The same with a fact.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Link {
        self.facts.push((name, value.into()));
        self
    }

    /// The same with how long it took.
    pub fn took(mut self, took: Duration) -> Link {
        self.took = Some(took);
        self
    }

    /// The same in this phase.
    pub fn at(mut self, turn: (Phase, usize)) -> Link {
        self.turn = turn;
        self
    }

    /// Which link it is.
    pub fn about(&self) -> String {
        match self.subject.as_str() {
            "" => self.kind.to_owned(),
            subject => format!("{} {subject}", self.kind),
        }
    }

    fn lines(&self) -> String {
        let took = match self.took {
            Some(took) => format!(" ({}{UNIT}", took.as_millis()),
            None => String::new(),
        };
        let about = match (self.subject.as_str(), self.text.as_str()) {
            ("", _) => String::new(),
            (subject, "") => subject.to_owned(),
            (subject, _) => format!("{subject}: "),
        };
        let text = log::plain(&format!("{about}{}", self.text)) + &took;
        let hint = self.hint.as_deref().map(log::plain);
        let hint = hint.map(|hint| format!("hint: {hint}"));
        let mut lines = format!("{:<8}{:<12}", self.state.word(), self.kind);
        for (at, part) in [text].into_iter().chain(hint).enumerate() {
            let whole = self.state == State::Failed || self.kind == VERDICT;
            let folded = match whole {
                true => vec![part],
                false => fold(&part),
            };
            for (row, piece) in folded.into_iter().enumerate() {
                if at + row > 0 {
                    lines.push_str(&" ".repeat(MARGIN));
                }
                lines.push_str(piece.trim_end_matches(' '));
                lines.push('\n');
            }
        }
        lines.replace(UNIT, " ms)")
    }

    fn object(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in &self.facts {
            let value = match value {
                Value::String(text) => log::plain(text).into(),
                other => other.clone(),
            };
            object.insert((*name).to_owned(), value);
        }
        object.insert("link".to_owned(), self.kind.into());
        object.insert(
            "state".to_owned(),
            self.state.word().to_ascii_lowercase().into(),
        );
        object.insert("message".to_owned(), log::plain(&self.text).into());
        if !self.subject.is_empty() {
            object.insert("subject".to_owned(), log::plain(&self.subject).into());
        }
        if let Some(hint) = &self.hint {
            object.insert("hint".to_owned(), log::plain(hint).into());
        }
        if let Some(took) = self.took {
            object.insert("ms".to_owned(), (took.as_millis() as u64).into());
        }
        Value::Object(object)
    }
}

/// A text in pieces that fit between the margins, as far as its words do.
fn fold(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let last = pieces.last_mut().expect("there is always one");
        let length = last.chars().count() + word.trim_end().chars().count();
        match length > WIDTH - MARGIN && !last.is_empty() {
            true => pieces.push(word.to_owned()),
            false => last.push_str(word),
        }
    }
    pieces
}

/// All links, in the order in which `exec` needs them.
#[derive(Debug, Default)]
pub struct Report {
    /// The links.
    pub links: Vec<Link>,
}

impl Report {
    /// The link at which `exec` would end. What waiting does not mend ends it first: it goes on trying the rest.
    fn broken(&self) -> Option<(&Link, Cause)> {
        let broken = self
            .links
            .iter()
            .filter_map(|link| Some((link, link.cause?)));
        broken.min_by_key(|(link, cause)| {
            let (phase, index) = link.turn;
            (phase, *cause == Cause::Unavailable, index)
        })
    }

    /// The exit code that `exec` would have; 0 is that it would start COMMAND.
    pub fn exit_code(&self) -> u8 {
        self.broken().map_or(0, |(_, cause)| cause.exit_code())
    }

    /// The last line: what is broken and what to do first.
    fn verdict(&self) -> Link {
        let Some((broken, cause)) = self.broken() else {
            return self.good_verdict().fact("code", 0);
        };
        let failed = self.links.iter().filter(|link| link.state == State::Failed);
        let others = match failed.count() - 1 {
            0 => String::new(),
            1 => "; one more link is broken".to_owned(),
            more => format!("; {more} more links are broken"),
        };
        let text = format!("{}: {}{others}", broken.about(), broken.text);
        Link {
            state: State::Failed,
            hint: broken.hint.clone(),
            ..Link::good(VERDICT, "", text)
        }
        .fact("code", cause.exit_code())
        .fact("cause", cause.name())
        .fact("broken", broken.about())
    }

    fn good_verdict(&self) -> Link {
        let odd = |link: &&Link| link.state == State::Warning;
        let odd: Vec<&Link> = self.links.iter().filter(odd).collect();
        let Some(first) = odd.first() else {
            return Link::good(VERDICT, "", "every link holds");
        };
        // The same is often odd about several.
        let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
        for link in &odd {
            let oddity = link.oddity.as_deref().unwrap_or(&link.text);
            match groups.iter_mut().find(|(known, _)| *known == oddity) {
                Some((_, links)) => links.push(link.about()),
                None => groups.push((oddity, vec![link.about()])),
            }
        }
        let warnings = match odd.len() {
            1 => "a warning".to_owned(),
            more => format!("{more} warnings"),
        };
        let groups: Vec<String> = groups
            .into_iter()
            .map(|(oddity, links)| format!("{}: {oddity}", links.join(" and ")))
            .collect();
        let text = format!("every link holds; {warnings}: {}", groups.join("; "));
        Link {
            hint: first.hint.clone(),
            ..Link::good(VERDICT, "", text)
        }
    }

    /// As it is printed.
    pub fn to_text(&self, format: log::Format) -> String {
        let verdict = self.verdict();
        let links = self.links.iter().chain([&verdict]);
        match format {
            log::Format::Text => links.map(Link::lines).collect(),
            log::Format::Json => links.map(|link| format!("{}\n", link.object())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &'static str, subject: &str, cause: Cause, turn: (Phase, usize)) -> Link {
        Link::failed(kind, subject, &Error::new(cause, "it is broken")).at(turn)
    }

    fn verdict(links: Vec<Link>) -> String {
        let text = Report { links }.to_text(log::Format::Text);
        text.lines().last().unwrap().split_at(MARGIN).1.to_owned()
    }

    #[test]
    fn the_verdict_is_about_the_link_at_which_exec_ends() {
        let refused = || failed("connection", "kv1", Cause::Unavailable, (Phase::Asking, 1));
        let absent = || failed("secret", "B", Cause::NotFound, (Phase::Asking, 2));
        let denied = || failed("secret", "A", Cause::Denied, (Phase::Waiting, 0));
        let foreign = || failed("command", "x", Cause::NotExecutable, (Phase::Becoming, 0));
        for (links, expected) in [
            (vec![refused()], "connection kv1: it is broken"),
            (
                vec![refused(), absent()],
                "secret B: it is broken; one more link is broken",
            ),
            (
                vec![denied(), refused()],
                "connection kv1: it is broken; one more link is broken",
            ),
            (
                vec![foreign(), denied(), absent()],
                "secret B: it is broken; 2 more links are broken",
            ),
        ] {
            assert_eq!(verdict(links), expected);
        }
    }

    #[test]
    fn what_is_odd_about_several_links_is_said_once() {
        let odd = |subject: &str, oddity| Link::good("secret", subject, "").warn(oddity, None);
        let links = vec![
            odd("A", "it ends"),
            odd("B", "it has ended"),
            odd("C", "it ends"),
        ];
        assert_eq!(
            verdict(links),
            "every link holds; 3 warnings: secret A and secret C: it ends; secret B: it has ended"
        );
        assert_eq!(verdict(vec![]), "every link holds");
    }

    #[test]
    fn what_is_only_looked_at_is_folded_and_its_time_is_not_torn_off() {
        let words = "word ".repeat(11) + "last";
        let link = Link::good("token", "", words.as_str()).took(Duration::from_millis(5));
        let margin = " ".repeat(MARGIN);
        let expected = format!("ok      token       {words}\n{margin}(5 ms)\n");
        assert_eq!(link.lines(), expected);
        let broken = Error::new(Cause::Denied, words.repeat(3));
        assert_eq!(
            Link::failed("token", "", &broken).lines().lines().count(),
            1
        );
    }
}
