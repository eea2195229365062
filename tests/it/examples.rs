//! The examples are valid: each container of the manifests gets its references from the identity of its platform.
//!
//! `exec` is run with --dry-run and /bin/true. The manifests are parsed line by line, and the references are counted
//! first, so that an unexpected form fails. tests/container.sh runs compose.yaml.

use std::fs;
use std::path::{Path, PathBuf};

use crate::azure::{APPLICATION, Azure, Identity};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{Source, with};
use crate::support_pages::{all_pages, blocks, page, section};

/// The ENTRYPOINT of the Dockerfiles.
const ENTRYPOINT: [&str; 3] = ["/akv-init", "exec", "--"];

/// A container of a manifest.
#[derive(Debug, Default)]
struct Container {
    name: String,
    image: String,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    env: Vec<(String, String)>,
    /// Whether the data of the only ConfigMap are variables, too.
    takes_config_map: bool,
}

/// The files of the examples whose name ends so.
fn files(ending: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for folder in fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(ending) && name != "compose.yaml" {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending}");
    found
}

fn is_reference(value: &str) -> bool {
    ["akv://", "entra-token:", "@Microsoft.KeyVault("]
        .iter()
        .any(|scheme| value.starts_with(scheme) || value.contains(&format!("{{{scheme}")))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A scalar: plain, or quoted as JSON quotes it too.
fn scalar(text: &str) -> String {
    match text.starts_with('"') {
        true => serde_json::from_str(text).unwrap(),
        // A placeholder, such as `APP_CLIENT_ID`.
        false if text.ends_with("CLIENT_ID") => APPLICATION.to_owned(),
        false => text.to_owned(),
    }
}

/// The pairs of a list of `- name: NAME` and `value: VALUE`.
fn pairs<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut name = "";
    for line in lines {
        if let Some(text) = line.trim().strip_prefix("- name: ") {
            name = text;
        } else if let Some(text) = line.trim().strip_prefix("value: ") {
            found.push((name.to_owned(), scalar(text)));
        }
    }
    found
}

/// The data of the only ConfigMap in a file.
fn config_map(file: &str) -> Vec<(String, String)> {
    let mut documents = file.split("\n---\n");
    let document = documents.find(|document| document.contains("\nkind: ConfigMap\n"));
    let (_, data) = document.unwrap().split_once("\ndata:\n").unwrap();
    let lines = data.lines().filter(|line| !line.trim().starts_with('#'));
    let pairs = lines.map(|line| line.trim().split_once(": ").unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), scalar(value)))
        .collect()
}

/// The containers of a manifest: `- name:` with `image:` in the next line, and what has the same indentation.
fn containers(document: &str) -> Vec<Container> {
    let lines: Vec<&str> = document
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let mut found = Vec::new();
    for (at, pair) in lines.windows(2).enumerate() {
        let starts = pair[0].trim_start().starts_with("- name: ");
        if !starts || !pair[1].trim_start().starts_with("image: ") {
            continue;
        }
        let depth = indent(pair[1]);
        let body = lines[at + 1..]
            .iter()
            .take_while(|line| indent(line) >= depth);
        let body: Vec<&str> = body.copied().collect();
        let mut container = Container {
            name: scalar(pair[0].trim().trim_start_matches("- name: ")),
            ..Container::default()
        };
        for (at, line) in body.iter().enumerate() {
            if indent(line) > depth {
                continue;
            }
            let below = body[at + 1..].iter().copied();
            let below = below.take_while(|line| indent(line) > depth);
            let (key, value) = line.trim().split_once(':').unwrap();
            let list = || match value.trim() {
                "" => below
                    .clone()
                    .map(|line| scalar(line.trim().strip_prefix("- ").unwrap()))
                    .collect(),
                list => serde_json::from_str(list).unwrap(),
            };
            match key {
                "image" => container.image = value.trim().to_owned(),
                "command" => container.command = Some(list()),
                "args" => container.args = Some(list()),
                "env" => container.env = pairs(below),
                "envFrom" => container.takes_config_map = true,
                _ => {}
            }
        }
        found.push(container);
    }
    found
}

/// The arguments of akv-init, if the container starts it.
fn words_of(container: &Container) -> Option<Vec<String>> {
    let image = container.image.split(':').next().unwrap();
    let (mut words, cmd) = match &container.command {
        Some(command) => (command.clone(), None),
        None if image.ends_with("/akv-init") => (vec![ENTRYPOINT[0].to_owned()], None),
        // Without either the image's CMD is the program.
        None if image.ends_with("-akv") => (
            ENTRYPOINT.map(str::to_owned).to_vec(),
            Some("program".to_owned()),
        ),
        None => return None,
    };
    match &container.args {
        Some(args) => words.extend(args.iter().cloned()),
        None => words.extend(cmd),
    }
    let program = Path::new(&words[0]).file_name().unwrap();
    (program == "akv-init").then_some(words)
}

/// Whether the webhook of workload identity skips the container.
fn is_skipped(document: &str, container: &Container) -> bool {
    let skipped = "azure.workload.identity/skip-containers: ";
    let named = document
        .lines()
        .find_map(|line| line.trim().strip_prefix(skipped));
    named.is_some_and(|names| names.split(';').any(|name| name == container.name))
}

/// The variables that the platform adds, and what the plan shows of the identity.
fn platform(file: &str, document: &str) -> (Vec<(&'static str, String)>, Vec<String>) {
    let after = |text: &str, key: &str| {
        let at = text.find(key)? + key.len();
        Some(text[at..].lines().next().unwrap().trim().to_owned())
    };
    if document.contains("\ntype: Microsoft.App/") {
        return app_service();
    }
    let mut env = vec![("KUBERNETES_SERVICE_HOST", "10.0.0.1".to_owned())];
    if !document.contains("\n        azure.workload.identity/use: \"true\"\n") {
        let identity = ["http://169.254.169.254", APPLICATION];
        return (env, identity.map(str::to_owned).to_vec());
    }
    let client = after(file, "azure.workload.identity/client-id:");
    let client = scalar(&client.unwrap());
    let authority = "https://login.microsoftonline.com".to_owned();
    let identity = vec![
        authority.clone(),
        client.clone(),
        "contoso.example".to_owned(),
    ];
    env.extend([
        ("AZURE_AUTHORITY_HOST", authority + "/"),
        ("AZURE_CLIENT_ID", client),
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere".to_owned()),
        ("AZURE_TENANT_ID", "contoso.example".to_owned()),
    ]);
    (env, identity)
}

/// The same for App Service and Container Apps.
fn app_service() -> (Vec<(&'static str, String)>, Vec<String>) {
    let env = vec![
        (
            "IDENTITY_ENDPOINT",
            "http://localhost:42356/msi/token".to_owned(),
        ),
        ("IDENTITY_HEADER", "header".to_owned()),
    ];
    let identity = ["http://localhost:42356", APPLICATION];
    (env, identity.map(str::to_owned).to_vec())
}

/// The words of an `akv-init exec`, for a dry run of /bin/true.
fn dry_run<W: AsRef<str>>(words: &[W]) -> Run {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    assert_eq!(words[1], "exec", "{words:?}");
    let end = words.iter().position(|word| *word == "--").unwrap();
    assert!(words.len() > end + 1, "no program: {words:?}");
    akv_init(["exec", "--dry-run"])
        .args(&words[2..=end])
        .args(["/bin/true"])
}

/// Asserts that the plan has this identity and these references, without a warning.
#[track_caller]
fn assert_plan(outcome: &Outcome, identity: &[String], env: &[(String, String)]) {
    let shown = outcome.planned("identity").concat();
    for part in identity {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let lines = [outcome.planned("secret"), outcome.planned("token")].concat();
    let mut planned: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once(" <- "))
        .flat_map(|(targets, _)| targets.split(", "))
        .collect();
    let mut expected: Vec<&str> = env
        .iter()
        .filter(|(_, value)| is_reference(value))
        .map(|(name, _)| name.as_str())
        .collect();
    planned.sort_unstable();
    expected.sort_unstable();
    assert_eq!(planned, expected);
}

#[test]
fn containers_get_their_references_from_their_identity() {
    for (path, text) in files(".yaml") {
        let mut references = 0;
        for document in text.split("\n---\n") {
            for mut container in containers(document) {
                if container.takes_config_map {
                    container.env.extend(config_map(&text));
                }
                let (added, identity) = platform(&text, document);
                let skipped = is_skipped(document, &container);
                let Some(words) = words_of(&container) else {
                    let references = container
                        .env
                        .iter()
                        .filter(|(_, value)| is_reference(value));
                    assert_eq!(references.count(), 0, "{} has no akv-init", container.image);
                    assert!(skipped, "{} has no need of an identity", container.name);
                    continue;
                };
                if words[1] == "install" {
                    assert!(skipped, "{} has no need of an identity", container.name);
                    continue;
                }
                assert!(!skipped, "{} has no identity", container.name);
                let (mut run, expected) = match words[1].as_str() {
                    "write" => {
                        let run = akv_init(["write", "--dry-run"]).args(&words[2..]);
                        let files = words.iter().filter_map(|word| word.split_once('='));
                        let files = files.map(|(name, value)| (name.to_owned(), value.to_owned()));
                        (run, files.collect())
                    }
                    _ => {
                        assert_eq!(words[1..3], ENTRYPOINT[1..], "{}", path.display());
                        (dry_run(&words), container.env.clone())
                    }
                };
                for (name, value) in &container.env {
                    run = run.env(name, value);
                }
                for (name, value) in added {
                    run = run.env(name, value);
                }
                assert_plan(&run.outcome(), &identity, &expected);
                let found = expected.iter().filter(|(_, value)| is_reference(value));
                references += found.count();
            }
        }
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let written = lines
            .filter(|line| line.split([' ', '"', '=']).any(is_reference))
            .count();
        assert_eq!(references, written, "{}", path.display());
        assert_ne!(references, 0, "{}", path.display());
    }
}

/// With all variables of the file the secret arrives, and without any one of them it does not.
#[test]
fn variables_of_one_container_are_all_needed() {
    let page = page("docs/getting-started.md");
    let section = section(&page, "One container, without Kubernetes");
    let azure = Azure::start();
    azure.secret("db-password", "value");
    let file = blocks(section, "ini").concat();
    let file = file
        .replace("kv.corp.example:8443", &azure.vault())
        .replace("/ca.pem", azure.ca_file().to_str().unwrap());
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let variables: Vec<(&str, &str)> = lines.map(|line| line.split_once('=').unwrap()).collect();
    let (_, client_id) = *variables.last().unwrap();
    let other = "11111111-2222-4333-8444-555555555555";
    azure.identities(&[Identity::user(client_id), Identity::user(other)]);
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let run = with(
            akv_init(words).args(["--", "printenv", "DB_PASSWORD"]),
            variables,
        );
        with(run, &Source::AppService.environment(&azure)).outcome()
    };
    let outcome = run(&["check"], &variables);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let outcome = run(&["exec"], &variables);
    assert_eq!(outcome.stdout_alone(), "value\n");
    for (index, code) in [(1, 76), (2, 76), (3, 77)] {
        let mut without = variables.clone();
        let (name, _) = without.remove(index);
        let outcome = run(&["exec", "--timeout=0"], &without);
        assert_eq!(
            outcome.code,
            Some(code),
            "without {name}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn settings_of_app_service_are_valid() {
    for (_, text) in files("settings.json") {
        let settings: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let field =
            |setting: &serde_json::Value, name: &str| setting[name].as_str().unwrap().to_owned();
        let mut env: Vec<(String, String)> = settings
            .iter()
            .map(|setting| (field(setting, "name"), scalar(&field(setting, "value"))))
            .collect();
        assert!(env.iter().any(|(_, value)| is_reference(value)));
        // A reference of the platform that it could not resolve.
        let left = "@Microsoft.KeyVault(VaultName=prod-kv;SecretName=grafana-admin-password)";
        env.push(("LEFT".to_owned(), left.to_owned()));
        let (added, identity) = app_service();
        let mut run = dry_run(&[&ENTRYPOINT[..], &["/run.sh"]].concat());
        for (name, value) in &env {
            run = run.env(name, value);
        }
        for (name, value) in added {
            run = run.env(name, value);
        }
        assert_plan(&run.outcome(), &identity, &env);
    }
}

#[test]
fn dockerfiles_start_akv_init_and_repeat_the_program() {
    for (path, text) in files("Dockerfile") {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        while let Some(line) = lines.next() {
            let Some(list) = line.strip_prefix("ENTRYPOINT ") else {
                continue;
            };
            let entrypoint: Vec<String> = serde_json::from_str(list).unwrap();
            assert_eq!(entrypoint, ENTRYPOINT, "{}", path.display());
            let next = lines.find(|line| !line.is_empty()).unwrap_or_default();
            let program = next.strip_prefix("CMD ").unwrap_or_default();
            let program: Vec<String> = serde_json::from_str(program).unwrap();
            assert!(!program.is_empty(), "{}", path.display());
            count += 1;
        }
        assert_ne!(count, 0, "{}", path.display());
    }
}

#[test]
fn excerpts_of_manifests_are_current() {
    let mut count = 0;
    for (path, page) in all_pages() {
        for shown in page.split("](").skip(1) {
            let Some((name, rest)) = ["yaml", "ini"]
                .iter()
                .find_map(|kind| shown.split_once(&format!("):\n\n```{kind}\n")))
            else {
                continue;
            };
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let manifest = root.join(&path).with_file_name(name);
            let manifest = fs::read_to_string(manifest).unwrap();
            let trimmed = |line: &str| line.trim().trim_start_matches("- ").to_owned();
            let lines: Vec<String> = manifest.lines().map(trimmed).collect();
            for line in rest.split("```").next().unwrap().lines() {
                assert!(lines.contains(&trimmed(line)), "{name}: {line}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 4);
}
