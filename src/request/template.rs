//! The text that a target gets its value from: a reference, or a text with references in braces.
//!
//! The braces have no `$` before them: bash makes `P=;X=1` of `P=${akv://kv/pw};X=1`, without an error.

use crate::error::Error;
use crate::request::reference::dialects::begins_with_vals;
use crate::request::reference::options::{Encoding, IfMissing};
use crate::request::reference::{
    Reference, add_hint, begins_with_reference, pass_on_hint, quoted_error,
};

/// Where the value of a target comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The references, each with the text before it. There is at least one.
    pub parts: Vec<(Vec<u8>, Reference)>,
    /// The text after the last reference.
    pub end: Vec<u8>,
}

impl Template {
    /// Parses a text on the command line.
    pub fn parse(text: &str) -> Result<Template, Error> {
        match Template::parse_composition(text.as_bytes())? {
            Some(template) => Ok(template),
            None => Reference::parse(text).map(Template::from),
        }
    }

    /// The template that is the value of the variable `name`; `None` if the value has no reference. Fails if the value
    /// was probably meant to be one.
    pub fn detect(name: &str, value: &[u8]) -> Result<Option<Template>, Error> {
        let composition = Template::parse_composition(value)
            .map_err(|error| add_hint(error, &pass_on_hint(name)))?;
        if composition.is_some() {
            return Ok(composition);
        }
        let reference = Reference::detect(name, &String::from_utf8_lossy(value))?;
        match reference {
            Some(_) if str::from_utf8(value).is_err() => {
                Err(Error::config("the reference is not UTF-8"))
            }
            reference => Ok(reference.map(Template::from)),
        }
    }

    /// Whether it is a reference and nothing else.
    fn is_reference(&self) -> bool {
        let is_empty = |(before, _): &(Vec<u8>, Reference)| before.is_empty();
        self.parts.len() == 1 && self.parts.iter().all(is_empty) && self.end.is_empty()
    }

    /// Parses a text with references in braces; `None` if there is no brace before a reference.
    fn parse_composition(text: &[u8]) -> Result<Option<Template>, Error> {
        let opens = |at: usize| text[at] == b'{' && begins_with_reference(&text[at + 1..]);
        let mut parts = Vec::new();
        let mut end = 0;
        while let Some(start) = (end..text.len()).find(|at| opens(*at)) {
            if text[end..start].ends_with(b"$") {
                let reason = "`${…}` is not a reference: shells and Compose take it for themselves";
                return Err(Error::config(reason).hint("write {akv://VAULT/NAME}, without the `$`"));
            }
            let Some(length) = text[start..].iter().position(|byte| *byte == b'}') else {
                let reason = "the brace before a reference is not closed";
                return Err(Error::config(reason).hint("write {akv://VAULT/NAME}"));
            };
            let inner = str::from_utf8(&text[start + 1..start + length]);
            let inner = inner.map_err(|_| Error::config("the reference is not UTF-8"))?;
            let reference = Reference::parse_in_variable(inner);
            let reference = reference.expect("a reference begins here")?;
            parts.push((text[end..start].to_vec(), reference));
            end = start + length + 1;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let mut template = Template {
            parts,
            end: text[end..].to_vec(),
        };
        let literals = template.parts.iter().map(|(before, _)| before);
        let has_reference = |literal: &Vec<u8>| {
            let mut rests = (0..literal.len()).map(|at| &literal[at..]);
            rests.any(|rest| begins_with_reference(rest) || begins_with_vals(rest))
        };
        if literals.chain([&template.end]).any(has_reference) {
            let reason = "the text has a reference in braces, and one without";
            return Err(Error::config(reason).hint("write {akv://VAULT/NAME}"));
        }
        if let [(before, reference)] = template.parts.as_slice()
            && let quote @ (b"\"" | b"'") = before.trim_ascii()
            && template.end.trim_ascii() == quote
            && !encodes_json(reference)
        {
            return Err(quoted_error());
        }
        // Like a reference alone, which may have white space around it.
        if let [(before, _)] = template.parts.as_mut_slice()
            && before.trim_ascii().is_empty()
            && template.end.trim_ascii().is_empty()
        {
            before.clear();
            template.end.clear();
        }
        let options = template
            .parts
            .iter()
            .filter_map(|(_, reference)| match reference {
                Reference::Secret(secret) => Some(&secret.options),
                Reference::Token(_) => None,
            });
        for options in options.filter(|_| !template.is_reference()) {
            if options.if_missing == IfMissing::LeaveOut {
                let reason = "a reference in a text cannot be `optional`";
                return Err(
                    Error::config(reason).hint("write `default=`, which leaves its place empty")
                );
            }
            if options.in_file {
                let reason = "a reference in a text cannot be `file`";
                return Err(Error::config(reason).hint("use --memfd for the whole text"));
            }
        }
        Ok(Some(template))
    }
}

/// Whether the value is the inside of a JSON string, whose quotes are in the text.
fn encodes_json(reference: &Reference) -> bool {
    match reference {
        Reference::Secret(secret) => secret.options.encoding == Some(Encoding::Json),
        Reference::Token(_) => false,
    }
}

impl From<Reference> for Template {
    fn from(reference: Reference) -> Template {
        Template {
            parts: vec![(Vec::new(), reference)],
            end: Vec::new(),
        }
    }
}
