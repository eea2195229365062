//! The plan: which secrets of which vaults and which access tokens go to which variables and files.
//!
//! It holds no value of a secret and can be printed. Every mistake in the options and references is found here, before
//! any request is sent.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Cause, Error};
use crate::request::arguments::Arguments;
use crate::request::environment::{
    SETTINGS_PREFIX, check_not_reserved, check_variable_name, unquoted,
};
use crate::request::expansion::{Expansion, NameRules, secret_target};
use crate::request::files::{Output, PlannedFile, check_collisions, parse_mode};
use crate::request::host::{Host, VaultName, strip_prefix_ignore_case};
use crate::request::many::{ManyRef, ManySource};
use crate::request::reference::dialects::is_of_another_store;
use crate::request::reference::options::{IfMissing, SecretOptions};
use crate::request::reference::{Reference, check_resource, check_secret_name};
use crate::request::secret_id::{SecretId, VaultId};
use crate::request::settings::{Settings, unknown_settings};
use crate::request::target::{Origin, Target, TargetPart, TargetSource};
use crate::request::template::Template;

/// The mode of files in memory without `--memfd-mode`: readable by every user, since entrypoints often change the user
/// before they start the server.
const DEFAULT_MEMFD_MODE: u32 = 0o444;
/// The target of a value that is printed.
const STANDARD_OUTPUT: &str = "standard output";

/// What to fetch, how, and which variables or files get it.
#[derive(Clone)]
pub struct Plan {
    /// The distinct secrets, tokens and lists to fetch.
    pub items: Vec<PlanItem>,
    /// For each item the targets that are made of it, as indices into `targets`.
    item_targets: Vec<Vec<usize>>,
    /// The environment variables or files that get a secret or a token: first those that the environment names, in its
    /// order, then those that options name, then those of the answers to `expansions`.
    pub targets: Vec<Target>,
    /// The references whose targets are known only from an answer.
    pub expansions: Vec<Expansion>,
    /// The names that targets may have.
    pub name_rules: NameRules,
    /// The names of variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// The permission bits of files in memory.
    pub memfd_mode: u32,
    /// Options and variables that are probably mistakes, most of them without effect, each with the reason.
    pub ignored: Vec<(String, String)>,
    /// Variables that COMMAND gets as they are although they may have been meant as references, each with a note.
    pub passed_on: Vec<(String, String)>,
    /// The settings for requests to Azure.
    pub settings: Settings,
}

/// A secret, an access token or a list that is to be fetched.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanItem {
    /// A secret.
    Secret(SecretId),
    /// The list of all secrets of a vault.
    List(VaultId),
    /// An access token for this resource.
    Token(String),
}

impl PlanItem {
    /// The resource of the access token: of the item itself if it is a token, otherwise of the one that reading the
    /// secret needs. `None` if only the vault's challenge names it.
    pub fn resource(&self) -> Option<&String> {
        match self {
            PlanItem::Token(resource) => Some(resource),
            PlanItem::Secret(secret) => secret.resource.as_ref(),
            PlanItem::List(vault) => vault.resource.as_ref(),
        }
    }

    /// The vault that has it; `None` for a token.
    pub fn host(&self) -> Option<&Host> {
        match self {
            PlanItem::Token(_) => None,
            PlanItem::Secret(secret) => Some(&secret.host),
            PlanItem::List(vault) => Some(&vault.host),
        }
    }

    /// What it is, for messages about several items.
    pub fn describe(&self) -> String {
        match self {
            PlanItem::Token(resource) => format!("a token for {resource}"),
            PlanItem::Secret(secret) => {
                format!("`{}` from {}", secret.name_and_version(), secret.host)
            }
            PlanItem::List(vault) => format!("the list of the secrets of {}", vault.host),
        }
    }
}

impl Plan {
    /// The plan for the command `token`.
    pub fn for_token(arguments: &Arguments<'_>) -> Result<Plan, Error> {
        let mut plan = Plan::new(arguments)?;
        let scope =
            arguments.parse_value("--scope", |scope| match scope.strip_suffix("/.default") {
                Some(resource) => Ok(resource.to_owned()),
                None => Err(Error::config("expected a scope that ends in /.default")),
            })?;
        let resource = match (arguments.single_operand_text("RESOURCE")?, scope) {
            (None, None) => plan.settings.cloud.vault_resource(),
            (None, Some(resource)) => resource,
            (Some(resource), None) => resource.to_owned(),
            (Some(_), Some(_)) => {
                return Err(arguments.usage_error("RESOURCE and `--scope` cannot both be given"));
            }
        };
        let subject = format!("`{resource}`");
        check_resource(&resource)
            .map_err(|error| arguments.malformed_value_error(&subject, error))?;
        plan.add_target(STANDARD_OUTPUT.as_ref(), Reference::Token(resource).into())?;
        Ok(plan)
    }

    /// The plan for the command `get`.
    pub fn for_get(arguments: &Arguments<'_>) -> Result<Plan, Error> {
        let mut plan = Plan::new(arguments)?;
        let Some(text) = arguments.single_operand_text("REF")? else {
            return Err(arguments.usage_error("no REF given"));
        };
        plan.add_target(STANDARD_OUTPUT.as_ref(), Template::parse(text)?)?;
        Ok(plan)
    }

    /// The plan for the commands `exec` and `check`. `on_error` is called with the error of each variable that cannot
    /// get its secret: if it returns `Ok`, the plan leaves the variable out; if it returns an error, there is no plan.
    pub fn for_exec(
        arguments: &Arguments<'_>,
        on_error: &mut dyn FnMut(Error) -> Result<(), Error>,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::new(arguments)?;
        let allow_override = arguments.flag("--override")?;
        let mut skipped = skipped_names(arguments, "--literal")?;
        skipped.extend(skipped_names(arguments, "--unset")?);
        if !arguments.is_set("--init")
            && let Some((setting, _)) = arguments.values("--drain").pop()
        {
            let reason = "no effect without --init or AKV_INIT_INIT";
            plan.ignored.push((setting.to_owned(), reason.to_owned()));
        }
        let mut option_targets = parse_option_targets(arguments, "--secret", false)?;
        option_targets.extend(parse_option_targets(arguments, "--memfd", true)?);
        let mut not_read = skipped.clone();
        if allow_override {
            not_read.extend(option_targets.iter().map(|(name, ..)| OsString::from(name)));
        }
        plan.add_environment(arguments, &not_read, on_error)?;
        for (name, reference, in_memfd) in option_targets {
            let check_result = plan.check_option_target(arguments, &name, allow_override);
            match check_result.and_then(|()| plan.add_target(name.as_ref(), reference)) {
                Ok(target) => (target.origin, target.in_memfd) = (Origin::Option, in_memfd),
                Err(error) => on_error(error.context(name))?,
            }
        }
        plan.add_expansions(arguments, on_error)?;
        if !plan.expansions.is_empty() {
            let targets = &plan.targets;
            let with_value = arguments.env.variables().filter(|(name, value)| {
                !value.is_empty() && !targets.iter().any(|target| target.name == *name)
            });
            plan.name_rules = NameRules {
                with_value: match allow_override {
                    true => Vec::new(),
                    false => with_value.map(|(name, _)| name.to_owned()).collect(),
                },
                skipped,
                ..NameRules::default()
            };
        }
        for target in &mut plan.targets {
            target.in_memfd |= target.parts.iter().any(|part| part.options.in_file);
            let name = target.name.to_string_lossy();
            if !target.in_memfd && names_a_path(&name) {
                let reason = "by its name it holds the path of a file, and programs print a path that they cannot open: \
                              add `?file` to the reference, or use --memfd";
                plan.ignored.push((name.into_owned(), reason.to_owned()));
            }
        }
        Ok(plan)
    }

    /// The plan for the command `write`, and the files to write as far as they are known.
    pub fn for_write(arguments: &Arguments<'_>) -> Result<(Plan, Vec<PlannedFile>), Error> {
        let mut outputs = arguments.parse_values("--output", Output::parse)?;
        if outputs.is_empty() {
            outputs.push(Output::Files);
        }
        let from_env = arguments.has("--from-env");
        let has_expansions = arguments.is_set("--from");
        if !arguments.has("--secret") && !from_env && !has_expansions {
            let reason = "nothing to write: give --secret FILE=REF, --from REF or --from-env";
            return Err(arguments.usage_error(reason));
        }
        if has_expansions && arguments.has("--keep-existing") {
            let reason = "`--keep-existing` cannot be given with `--from`: which files there are is not known without the vault";
            return Err(arguments.usage_error(reason));
        }
        if !from_env && arguments.has("--literal") {
            return Err(arguments.usage_error("`--literal` needs `--from-env`"));
        }
        let mut plan = Plan::new(arguments)?;
        plan.name_rules.outputs = outputs;
        let option_targets = parse_option_targets(arguments, "--secret", false)?;
        if from_env {
            plan.add_environment(arguments, &skipped_names(arguments, "--literal")?, &mut Err)?;
        }
        for (name, reference, _) in option_targets {
            let result = match plan.find_target(&name) {
                Some(_) => Err(Error::config("given twice")),
                None => plan.add_target(name.as_ref(), reference),
            };
            result.map_err(|error| error.context(name))?;
        }
        plan.add_expansions(arguments, &mut Err)?;
        if plan.items.is_empty() {
            let reason = "--from-env: no environment variable is a reference";
            return Err(Error::config(reason).hint(
                "set one in the manifest, such as DB_PASSWORD: akv://VAULT/NAME, or name files with --secret",
            ));
        }
        for target in &plan.targets {
            plan.name_rules
                .check_output_name(&target.name.to_string_lossy())?;
        }
        let files = plan.files();
        check_collisions(&files)?;
        Ok((plan, files))
    }

    /// A plan without targets.
    fn new(arguments: &Arguments<'_>) -> Result<Plan, Error> {
        let settings = Settings::parse(arguments)?;
        let mut ignored = unknown_settings(arguments.env);
        if let Some((setting, _)) = arguments.values("--vault-resource").pop()
            && settings.allowed_hosts.is_empty()
        {
            let reason = "no effect without --allow-vault or AKV_INIT_ALLOW_VAULT";
            ignored.push((setting.to_owned(), reason.to_owned()));
        }
        if let Some(host) = settings.contradicting_authority(arguments.env) {
            let used = settings.cloud.authority_host();
            let reason = format!(
                "no effect, since --cloud or AKV_INIT_CLOUD selects another cloud: {used} is used, not {host}"
            );
            ignored.push(("AZURE_AUTHORITY_HOST".to_owned(), reason));
        }
        let secret_name = "AZURE_CLIENT_SECRET";
        if let Ok(Some(secret)) = arguments.env.secret_setting(secret_name)
            && unquoted(secret) != secret
        {
            let reason = "the quotes around it become part of the secret";
            ignored.push((secret_name.to_owned(), reason.to_owned()));
        }
        for (setting, name) in arguments.variable_names("--literal")? {
            if !arguments.env.variables().any(|(known, _)| known == name) {
                let separator = if setting == "--literal" { ' ' } else { '=' };
                let setting = format!("{setting}{separator}{}", name.to_string_lossy());
                ignored.push((setting, "there is no such variable".to_owned()));
            }
        }
        let memfd_mode = arguments.parse_value("--memfd-mode", parse_mode)?;
        Ok(Plan {
            items: Vec::new(),
            item_targets: Vec::new(),
            targets: Vec::new(),
            expansions: Vec::new(),
            name_rules: NameRules::default(),
            unset: skipped_names(arguments, "--unset")?,
            memfd_mode: memfd_mode.unwrap_or(DEFAULT_MEMFD_MODE),
            ignored,
            passed_on: Vec::new(),
            settings,
        })
    }

    /// The target with this name; `None` if the plan has none.
    fn find_target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// Adds the variables of the environment whose whole value is a reference. Leaves out those whose names are in
    /// `skipped`.
    fn add_environment(
        &mut self,
        arguments: &Arguments<'_>,
        skipped: &[OsString],
        on_error: &mut dyn FnMut(Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let variables = arguments.env.variables().filter(|(name, _)| {
            let is_setting = name.as_bytes().starts_with(SETTINGS_PREFIX.as_bytes());
            !is_setting && !skipped.iter().any(|other| other == name)
        });
        let variables: Vec<(&OsStr, &OsStr)> = variables.collect();
        for &(name, value) in &variables {
            let shown = name.to_string_lossy();
            let result = match detect_reference(arguments, name, value) {
                Ok(None) => continue,
                Ok(Some(reference)) => self.add_target(name, reference),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                on_error(error.context(shown.as_ref()).fact("for", shown))?;
            }
        }
        for (name, value) in variables {
            let is_target = self.targets.iter().any(|target| target.name == name);
            if !is_target && let Some(note) = self.note_of(&value.to_string_lossy()) {
                self.passed_on
                    .push((name.to_string_lossy().into_owned(), note));
            }
        }
        Ok(())
    }

    /// What the value of a variable that is not a reference may have been meant as; `None` for most values.
    fn note_of(&self, value: &str) -> Option<String> {
        // Most values have none, and the targets need not be looked through.
        let targets = match value.contains("$(") {
            true => self.targets.as_slice(),
            false => &[],
        };
        let names = targets.iter().map(|target| target.name.to_string_lossy());
        let mut expansions = names.map(|name| format!("$({name})"));
        match expansions.find(|expansion| value.contains(expansion)) {
            Some(expansion) => Some(format!(
                "`{expansion}` was not expanded by Kubernetes; define that variable before this one in `env`, and write \
                 its reference in braces"
            )),
            None => note_of_value(value.trim()),
        }
    }

    /// Fails if a variable that an option names cannot get the secret.
    fn check_option_target(
        &self,
        arguments: &Arguments<'_>,
        name: &str,
        allow_override: bool,
    ) -> Result<(), Error> {
        check_variable_name(name)?;
        for option in ["--unset", "--literal"] {
            let mut names = arguments.variable_names(option)?.into_iter();
            if let Some((setting, _)) = names.find(|(_, other)| other == name) {
                return Err(Error::config(format!(
                    "cannot be set from a secret and also be given to {setting}"
                )));
            }
        }
        let has_value = |(other, value): (&OsStr, &OsStr)| other == name && !value.is_empty();
        match self.find_target(name) {
            Some(target) if target.origin == Origin::Option => Err(Error::config("given twice")),
            Some(_) => Err(Error::config(
                "two sources: an option, and a reference in the environment",
            )
            .hint("remove one of them, or add --override (AKV_INIT_OVERRIDE=true) to let the option take precedence")),
            None if !allow_override && arguments.env.variables().any(has_value) => {
                Err(Error::config("the variable already has a value")
                    .hint("remove it from the environment, or add --override (AKV_INIT_OVERRIDE=true) to replace it"))
            }
            None => Ok(()),
        }
    }

    /// Adds a target; also its item, unless the plan has that already.
    fn add_target(&mut self, name: &OsStr, template: Template) -> Result<&mut Target, Error> {
        let mut parts = Vec::new();
        for (text_before, reference) in template.parts {
            let (item, options) = match reference {
                Reference::Secret(secret) => (
                    PlanItem::Secret(self.settings.resolve(&secret)?),
                    secret.options,
                ),
                Reference::Token(resource) => (PlanItem::Token(resource), SecretOptions::default()),
            };
            let item_index = self.add_item(item);
            parts.push(TargetPart {
                text_before,
                item_index,
                options,
            });
        }
        self.push_target(Target {
            name: name.to_owned(),
            parts,
            text_after: template.end,
            origin: Origin::Environment,
            in_memfd: false,
        });
        Ok(self.targets.last_mut().expect("just added"))
    }

    /// Adds an item, unless the plan has it already. Returns its index.
    fn add_item(&mut self, item: PlanItem) -> usize {
        let known_index = self.items.iter().position(|known| *known == item);
        known_index.unwrap_or_else(|| self.push_item(item))
    }

    fn push_item(&mut self, item: PlanItem) -> usize {
        self.items.push(item);
        self.item_targets.push(Vec::new());
        self.items.len() - 1
    }

    fn push_target(&mut self, target: Target) {
        let index = self.targets.len();
        for part in &target.parts {
            let targets = &mut self.item_targets[part.item_index];
            if targets.last() != Some(&index) {
                targets.push(index);
            }
        }
        self.targets.push(target);
    }

    /// Adds the references of `--from`, and of its variable, which are separated by white space.
    fn add_expansions(
        &mut self,
        arguments: &Arguments<'_>,
        on_error: &mut dyn FnMut(Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let values = arguments.parse_values("--from", |text| Ok(text.to_owned()))?;
        for text in values.iter().flat_map(|value| value.split_whitespace()) {
            match self.expansion(arguments, text) {
                Ok(expansion) => self.expansions.push(expansion),
                Err(error) if error.cause == Cause::Usage => return Err(error),
                Err(error) => on_error(error.context("--from"))?,
            }
        }
        Ok(())
    }

    /// Parses a reference of `--from`, and adds its item.
    fn expansion(&mut self, arguments: &Arguments<'_>, text: &str) -> Result<Expansion, Error> {
        let mut reference = ManyRef::parse(text)?;
        if reference.prefix.is_none() && self.name_rules.outputs.is_empty() {
            let reason = "`--from` needs `prefix=`, so that nothing in the vault becomes a variable such as NODE_OPTIONS";
            let hint = "write `prefix=APP_`, or an empty `prefix=` to take the names as they are";
            return Err(arguments.usage_error(reason).hint(hint));
        }
        let item = match &mut reference.source {
            ManySource::Fields(secret) => {
                let id = self.settings.resolve(secret)?;
                secret.vault = Some(VaultName::Host(id.host.clone()));
                PlanItem::Secret(id)
            }
            ManySource::Secrets(filter) => {
                let id = self.settings.resolve_vault(filter.vault.as_ref(), "*")?;
                filter.vault = Some(VaultName::Host(id.host.clone()));
                PlanItem::List(id)
            }
        };
        let mut expansion = Expansion {
            item_index: 0,
            reference,
        };
        expansion.check_prefix(&self.name_rules)?;
        expansion.item_index = self.add_item(item);
        Ok(expansion)
    }

    /// The expansions that are made of an item.
    pub fn expansions_of(&self, item_index: usize) -> impl Iterator<Item = &Expansion> {
        let expansions = self.expansions.iter();
        expansions.filter(move |expansion| expansion.item_index == item_index)
    }

    /// Adds the secrets of a list as items, and their targets: each the name of the target and that of the secret.
    pub fn add_listed(
        &mut self,
        list_index: usize,
        listed: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let PlanItem::List(vault) = self.items[list_index].clone() else {
            return Ok(());
        };
        let mut known: Vec<(String, usize)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            if let PlanItem::Secret(secret) = item
                && (&secret.host, &secret.version) == (&vault.host, &None)
            {
                known.push((secret.name.to_ascii_lowercase(), index));
            }
        }
        known.sort_unstable();
        let targets = listed.into_iter().map(|(target, name)| {
            let lowercase = name.to_ascii_lowercase();
            let item_index = match known.binary_search_by(|(other, _)| other.cmp(&lowercase)) {
                Ok(position) => known[position].1,
                Err(_) => self.push_item(PlanItem::Secret(SecretId {
                    host: vault.host.clone(),
                    resource: vault.resource.clone(),
                    name: name.clone(),
                    version: None,
                })),
            };
            secret_target(target, item_index, &name)
        });
        let targets = targets.collect();
        self.add_expanded(targets)
    }

    /// Adds the targets of expansions. Fails if a name is not free.
    pub fn add_expanded(&mut self, targets: Vec<Target>) -> Result<(), Error> {
        self.name_rules.check_distinct(&self.targets, &targets)?;
        targets
            .into_iter()
            .for_each(|target| self.push_target(target));
        check_collisions(&self.files()).map_err(|_| {
            let reason = "a name of --from is also that of a directory in another path";
            Error::config(reason).hint("write another `prefix=`, or leave one of them out")
        })
    }

    /// The files to write: for each `--output`, those of all targets that are known.
    pub fn files(&self) -> Vec<PlannedFile> {
        let mut files = Vec::new();
        for output in &self.name_rules.outputs {
            match output {
                Output::Files => {
                    let targets = self.targets.iter().enumerate();
                    files.extend(targets.map(|(index, target)| PlannedFile {
                        path: target.name.to_string_lossy().into_owned(),
                        format: None,
                        target_indices: vec![index],
                    }));
                }
                Output::Combined(format, path) => files.push(PlannedFile {
                    path: path.clone(),
                    format: Some(*format),
                    target_indices: (0..self.targets.len()).collect(),
                }),
            }
        }
        files
    }

    /// The references of a target in full, including the vault if it is the default one. The texts of defaults are for
    /// no message.
    pub fn references_of(&self, target: &Target, shows_defaults: bool) -> Vec<String> {
        let parts = target.parts.iter();
        let references = parts.map(|part| match &self.items[part.item_index] {
            PlanItem::Token(resource) => format!("entra-token:{resource}"),
            // No target is made of a list.
            PlanItem::List(vault) => format!("akv://{}/*", vault.host),
            PlanItem::Secret(secret) if shows_defaults => secret.reference(&part.options),
            PlanItem::Secret(secret) => secret.reference(&part.options.shown()),
        });
        references.collect()
    }

    /// Whether an access token is to be fetched for a target.
    pub fn has_tokens(&self) -> bool {
        let mut items = self.items.iter();
        items.any(|item| matches!(item, PlanItem::Token(_)))
    }

    /// What the value of a target is made of, as one text for each meaning.
    pub fn source_of(&self, target: &Target) -> TargetSource {
        let references = self.references_of(target, true);
        let has_default =
            |part: &TargetPart| matches!(part.options.if_missing, IfMissing::Default(_));
        if !target.is_composed() && !target.parts.iter().any(has_default) {
            return TargetSource::Reference(references.concat());
        }
        let mut text = Vec::new();
        for (part, reference) in target.parts.iter().zip(&references) {
            text.extend_from_slice(&part.text_before);
            text.extend_from_slice(format!("{{{reference}}}").as_bytes());
        }
        text.extend_from_slice(&target.text_after);
        TargetSource::Text(text)
    }

    /// The vaults, in the order of their first secrets; each with its secrets, as indices into the plan's items.
    pub fn items_by_vault(&self) -> Vec<(&Host, Vec<usize>)> {
        let mut vaults: Vec<(&Host, Vec<usize>)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let Some(host) = item.host() else {
                continue;
            };
            match vaults.iter_mut().find(|(known, _)| *known == host) {
                Some((_, items)) => items.push(index),
                None => vaults.push((host, vec![index])),
            }
        }
        vaults
    }

    /// The names of the targets whose references all have a version, so that their values never change.
    pub fn pinned_targets(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let is_pinned = |part: &TargetPart| match &self.items[part.item_index] {
            PlanItem::Secret(secret) => secret.version.is_some(),
            PlanItem::Token(_) | PlanItem::List(_) => false,
        };
        let targets = self.targets.iter();
        let pinned = targets.filter(move |target| target.parts.iter().all(is_pinned));
        pinned.map(|target| target.name.to_string_lossy())
    }

    /// The number of targets in memory.
    pub fn memfd_count(&self) -> usize {
        self.targets.iter().filter(|target| target.in_memfd).count()
    }

    /// The parts of targets that are made of an item, in the order of the targets.
    pub fn parts_of(&self, item_index: usize) -> impl Iterator<Item = (&Target, &TargetPart)> {
        let targets = self.item_targets[item_index].iter();
        let parts = targets.flat_map(|index| {
            let target = &self.targets[*index];
            target.parts.iter().map(move |part| (target, part))
        });
        parts.filter(move |(_, part)| part.item_index == item_index)
    }

    /// The names of all targets, separated by commas, for messages. Those that a vault has named are not listed singly.
    pub fn all_target_names(&self) -> String {
        let targets = self.targets.iter();
        let targets = targets.filter(|target| !target.origin.is_expansion());
        let names = targets.map(Target::shown_name);
        let labels = self.expansions.iter().map(|it| it.label().into());
        names.chain(labels).collect::<Vec<_>>().join(", ")
    }

    /// The names of the targets that get an item, separated by commas, for messages.
    pub fn target_names(&self, item_index: usize) -> String {
        let targets = self.item_targets[item_index].iter();
        let names = targets.map(|index| self.targets[*index].shown_name());
        let expansions = self.expansions_of(item_index);
        let labels = expansions.map(|expansion| expansion.label().into());
        names.chain(labels).collect::<Vec<_>>().join(", ")
    }

    /// The lines that `--dry-run` shows.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let resource = item.resource();
            let resource = resource.map_or("from the vault's challenge", String::as_str);
            let targets = self.item_targets[index].iter();
            let targets = targets.map(|index| self.targets[*index].name.to_string_lossy());
            let targets = targets.collect::<Vec<_>>().join(", ");
            let from = match item {
                PlanItem::Token(_) => {
                    lines.push(format!(
                        "token     {targets} <- an access token for {resource}"
                    ));
                    continue;
                }
                PlanItem::List(vault) => format!("secret of https://{}", vault.host),
                PlanItem::Secret(secret) => {
                    let url = format!("https://{}{}", secret.host, secret.path());
                    if !targets.is_empty() {
                        let line = format!("secret    {targets} <- {url} (resource {resource})");
                        lines.push(line);
                    }
                    format!("field of {url}")
                }
            };
            for expansion in self.expansions_of(index) {
                let (which, prefix) = (expansion.condition(), expansion.prefix());
                lines.push(format!(
                    "from      each {from}{which}, as {prefix}… (resource {resource})"
                ));
                let label = expansion.label();
                if expansion.is_optional() {
                    lines.push(format!("optional  {label} (left out if it is missing)"));
                }
            }
        }
        for target in &self.targets {
            let name = target.name.to_string_lossy();
            if target.in_memfd {
                lines.push(format!(
                    "memfd     {name} (holds the path of a file in memory)"
                ));
            }
            for part in &target.parts {
                if part.options.trim {
                    lines.push(format!(
                        "trim      {name} (byte order mark, newlines removed)"
                    ));
                }
                lines.extend(match part.options.if_missing {
                    IfMissing::Fail => None,
                    IfMissing::LeaveOut => {
                        Some(format!("optional  {name} (left out if it is missing)"))
                    }
                    IfMissing::Default(_) => {
                        Some(format!("default   {name} (a text if it is missing)"))
                    }
                });
                let steps = part.options.steps();
                if !steps.is_empty() {
                    lines.push(format!("do        {name}, {}", steps.join(", ")));
                }
            }
            if target.is_composed() {
                let count = target.parts.len();
                let what = if count == 1 {
                    "reference"
                } else {
                    "references"
                };
                lines.push(format!("compose   {name} (a text with {count} {what})"));
            }
        }
        let unset = self.unset.iter();
        lines.extend(unset.map(|name| format!("unset     {}", name.to_string_lossy())));
        if !self.items.is_empty() {
            let deadline = match self.settings.timeout.as_secs() {
                0 => "none; each request is sent once".to_owned(),
                seconds => format!("{seconds} s"),
            };
            let extension = match self.settings.wait_for_access.as_secs() {
                0 => String::new(),
                seconds => format!(", and {seconds} s more while access is denied"),
            };
            let (timeout, throttled) = (self.settings.timeout, self.settings.throttle_timeout);
            let throttled = match throttled > timeout && !timeout.is_zero() {
                true => format!("; {} s while requests are throttled", throttled.as_secs()),
                false => String::new(),
            };
            lines.push(format!("deadline  {deadline}{extension}{throttled}"));
        }
        lines
    }
}

/// What a text alone may have been meant as; `None` for most texts.
fn note_of_value(text: &str) -> Option<String> {
    if strip_prefix_ignore_case(text, "https://").is_some()
        && let Ok(Reference::Secret(reference)) = Reference::parse(text)
        && let Some(VaultName::Host(host)) = &reference.vault
        && host.cloud().is_some()
    {
        return Some(format!(
            "the URL of a secret; for its value, write {reference}"
        ));
    }
    let note = "a reference that akv-init does not read; those to Key Vault begin with akv://";
    is_of_another_store(text).then(|| note.to_owned())
}

/// Whether programs expect a path in a variable of this name: `POSTGRES_PASSWORD_FILE`, `FILE__PASSWORD`.
fn names_a_path(name: &str) -> bool {
    name.ends_with("_FILE") || name.starts_with("FILE__")
}

/// The names of variables that `option` or its variable has.
fn skipped_names(arguments: &Arguments<'_>, option: &str) -> Result<Vec<OsString>, Error> {
    let names = arguments.variable_names(option)?.into_iter();
    Ok(names.map(|(_, name)| name).collect())
}

/// Parses the values of an option that takes `NAME=REF`, or `--secret`, which also takes the NAME of a secret in the
/// default vault. Returns for each the name, the reference, and [`Target::in_memfd`].
fn parse_option_targets(
    arguments: &Arguments<'_>,
    option: &str,
    in_memfd: bool,
) -> Result<Vec<(String, Template, bool)>, Error> {
    let targets = arguments.values(option).into_iter().map(|(_, pair)| {
        // Not trimmed, as other values are: white space may be a part of the text.
        let pair = pair.to_str().and_then(|pair| match pair.split_once('=') {
            None if !in_memfd && check_secret_name(pair).is_ok() => Some((pair, pair)),
            pair => pair.filter(|(name, _)| !name.is_empty()),
        });
        let (name, reference) = pair.ok_or_else(|| {
            let target_noun = match arguments.command {
                "write" => "a file",
                _ => "a variable",
            };
            arguments.usage_error(format!(
                "`{option}` takes NAME=REF, where NAME is {target_noun}"
            ))
        })?;
        let template = Template::parse(reference).map_err(|error| error.context(name))?;
        Ok((name.to_owned(), template, in_memfd))
    });
    targets.collect()
}

/// The reference that a variable contains; `None` if its value is not a reference. Fails if the value is one, and the
/// variable cannot be a target.
fn detect_reference(
    arguments: &Arguments<'_>,
    name: &OsStr,
    value: &OsStr,
) -> Result<Option<Template>, Error> {
    let shown = name.to_string_lossy();
    let Some(template) = Template::detect(&shown, value.as_bytes())? else {
        return Ok(None);
    };
    let has_same_name = |(other, _): &(&OsStr, &OsStr)| *other == name;
    if arguments.env.variables().filter(has_same_name).count() > 1 {
        let reason = "the variable is in the environment twice, at least once as a reference";
        return Err(Error::config(reason));
    }
    if arguments.command != "write" {
        check_not_reserved(&shown)?;
    } else if name.to_str().is_none() {
        return Err(Error::config("the name is not UTF-8"));
    }
    Ok(Some(template))
}
