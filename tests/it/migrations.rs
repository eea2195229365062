//! The migrations of the examples: before and after, the application has the same variables and files, of the same secrets.
//!
//! What a `before.yaml` refers to is read here by the rules of its tool; what an `after.yaml` does, akv-init says itself.
//! tests/recipes.sh runs each `after.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::akv_init;

/// Variables, and files by their paths; each with the reference that it is made of.
type Delivered = BTreeMap<String, String>;

/// The objects of a manifest.
fn objects(tool: &str, file: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/migrations");
    let text = fs::read_to_string(root.join(tool).join(file)).unwrap();
    let documents = serde_norway::Deserializer::from_str(&text);
    documents
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

/// The objects of this kind; each has these members and no others.
fn of_kind<'a>(objects: &'a [Value], kind: &str, api_version: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = objects.iter().filter(|it| it["kind"] == kind).collect();
    for object in &found {
        assert_eq!(object["apiVersion"], api_version);
        assert_members(object, &["apiVersion", "kind", "metadata", "spec"]);
    }
    found
}

#[track_caller]
fn assert_members(object: &Value, known: &[&str]) {
    for name in object.as_object().expect("an object").keys() {
        assert!(known.contains(&name.as_str()), "{name}: {object}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The pod of a manifest.
fn pod(objects: &[Value]) -> &Value {
    let pods = objects.iter().map(|it| &it["spec"]["template"]["spec"]);
    let pods: Vec<&Value> = pods.filter(|pod| pod.is_object()).collect();
    let [pod] = pods[..] else {
        panic!("{} pods", pods.len());
    };
    pod
}

/// The application's container.
fn application(objects: &[Value]) -> &Value {
    let [container] = list(&pod(objects)["containers"]) else {
        panic!("not one container");
    };
    container
}

fn variables(container: &Value) -> Vec<(&str, &str)> {
    let variables = list(&container["env"]).iter();
    variables
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect()
}

/// Where a container has a volume.
fn mount_path<'a>(container: &'a Value, volume: &Value) -> Option<&'a str> {
    let mounts = list(&container["volumeMounts"]).iter();
    let mut mounts = mounts.filter(|mount| mount["name"] == volume["name"]);
    mounts.next().map(|mount| text(&mount["mountPath"]))
}

/// <https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/getting-started/usage/>
fn by_secrets_store_csi(objects: &[Value]) -> Delivered {
    let classes = of_kind(
        objects,
        "SecretProviderClass",
        "secrets-store.csi.x-k8s.io/v1",
    );
    let [class] = classes[..] else {
        panic!("{} classes", classes.len());
    };
    assert_members(&class["spec"], &["provider", "parameters"]);
    assert_eq!(class["spec"]["provider"], "azure");
    let parameters = &class["spec"]["parameters"];
    let known = ["clientID", "keyvaultName", "objects", "tenantId"];
    assert_members(parameters, &known);
    let vault = text(&parameters["keyvaultName"]);
    let array: Value = serde_norway::from_str(text(&parameters["objects"])).unwrap();
    assert_members(&array, &["array"]);
    let entries = list(&array["array"]).iter();
    let entries: Vec<Value> = entries
        .map(|entry| serde_norway::from_str(text(entry)).unwrap())
        .collect();
    let mut volumes = list(&pod(objects)["volumes"]).iter();
    let uses_class = |volume: &&Value| {
        volume["csi"]["driver"] == "secrets-store.csi.k8s.io"
            && volume["csi"]["volumeAttributes"]["secretProviderClass"] == class["metadata"]["name"]
    };
    let volume = volumes.find(uses_class).expect("a volume of the class");
    let dir = mount_path(application(objects), volume).expect("the volume is mounted");
    let mut delivered = Delivered::new();
    for entry in &entries {
        let known = [
            "objectAlias",
            "objectEncoding",
            "objectFormat",
            "objectName",
            "objectType",
        ];
        assert_members(entry, &known);
        let name = &entry["objectName"];
        // Only a certificate has a format.
        let mut same = entries.iter().filter(|it| it["objectName"] == *name);
        let is_certificate = same.any(|it| it["objectFormat"].is_string());
        let member = |name: &str| entry[name].as_str();
        let options = match (member("objectType"), member("objectEncoding")) {
            (Some("cert"), None) => "?pem=leaf",
            (Some("secret"), Some("base64")) => "?decode=base64",
            (Some("secret"), Some("hex")) => "?decode=hex",
            (Some("secret"), None) if is_certificate => "?pem",
            (Some("secret"), None) => "",
            other => panic!("{other:?}"),
        };
        let file = entry.get("objectAlias").unwrap_or(name);
        let reference = format!("akv://{vault}.vault.azure.net/{}{options}", text(name));
        delivered.insert(format!("{dir}/{}", text(file)), reference);
    }
    delivered
}

/// <https://akv2k8s.io/tutorials/env-injection/1-secret/> and the custom resource's definition.
fn by_akv2k8s(objects: &[Value]) -> Delivered {
    let mut secrets = BTreeMap::new();
    for object in of_kind(objects, "AzureKeyVaultSecret", "spv.no/v2beta1") {
        // An `output` makes a Kubernetes Secret of it.
        assert_members(&object["spec"], &["vault"]);
        let vault = &object["spec"]["vault"];
        assert_members(vault, &["name", "object"]);
        assert_members(&vault["object"], &["contentType", "name", "type"]);
        secrets.insert(text(&object["metadata"]["name"]), vault);
    }
    let mut delivered = Delivered::new();
    for (variable, value) in variables(application(objects)) {
        let (name, key) = value.split_once("@azurekeyvault").expect(variable);
        let vault = secrets[name];
        let object = &vault["object"];
        let options = match (text(&object["type"]), key) {
            ("secret", "") => String::new(),
            ("certificate", "?tls.crt") => "?pem=chain".to_owned(),
            ("certificate", "?tls.key") => "?pem=key".to_owned(),
            ("multi-key-value-secret", key) => {
                assert_eq!(object["contentType"], "application/x-json");
                format!("#/{}", key.strip_prefix('?').expect(key))
            }
            other => panic!("{other:?}"),
        };
        let (vault, object) = (text(&vault["name"]), text(&object["name"]));
        let reference = format!("akv://{vault}.vault.azure.net/{object}{options}");
        delivered.insert(variable.to_owned(), reference);
    }
    delivered
}

/// <https://github.com/bank-vaults/secret-init>
fn by_secret_init(objects: &[Value]) -> Delivered {
    let mut variables: BTreeMap<&str, &str> = variables(application(objects)).into_iter().collect();
    let vault = variables.remove("AZURE_KEY_VAULT_URL").expect("the vault");
    let vault = vault.strip_prefix("https://").expect(vault);
    let references = variables.into_iter().map(|(variable, value)| {
        let name = value.strip_prefix("azure:keyvault:").expect(value);
        (variable.to_owned(), format!("akv://{vault}/{name}"))
    });
    references.collect()
}

/// What akv-init makes in the containers that it starts in.
fn by_akv_init(objects: &[Value]) -> Delivered {
    let pod = pod(objects);
    let containers = [&pod["initContainers"], &pod["containers"]].map(list);
    let mut delivered = Delivered::new();
    for container in containers.concat() {
        let words = |name: &str| list(&container[name]).iter().map(text);
        let words: Vec<&str> = words("command").chain(words("args")).collect();
        let image = text(&container["image"]);
        match words[..] {
            ["write", .., dir] if image.ends_with("/akv-init:1") => {
                let volumes = list(&pod["volumes"]).iter();
                let mut written = volumes.filter(|it| mount_path(&container, it) == Some(dir));
                let volume = written.next().expect("the directory is a volume");
                let dir = mount_path(application(objects), volume).expect("it is mounted");
                let at_secret = |pair: &&[&str]| pair[0] == "--secret";
                let secrets: Vec<&str> = words
                    .windows(2)
                    .filter(at_secret)
                    .flatten()
                    .copied()
                    .collect();
                for (file, reference) in checked(&container, &secrets) {
                    delivered.insert(format!("{dir}/{file}"), reference);
                }
            }
            ["install", _] if image.ends_with("/akv-init:1") => {}
            [program, "exec", "--", ..] if program.ends_with("/akv-init") => {
                delivered.extend(checked(&container, &[]));
            }
            [..] if image.contains("-akv:") => delivered.extend(checked(&container, &[])),
            _ => assert_eq!(checked(&container, &[]), Delivered::new()),
        }
    }
    delivered
}

/// The references of `akv-init check` with these options in a container's environment.
fn checked(container: &Value, words: &[&str]) -> Delivered {
    let closed = "http://127.0.0.1:1";
    let run = akv_init(["check", "--format", "json"])
        .args(words)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", closed)
        .env("HTTPS_PROXY", closed);
    let variables = variables(container);
    let run = variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let report = run.outcome().stdout;
    let lines = report.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let references = lines.filter(|line| line["link"] == "reference");
    references
        .map(|line| {
            (
                text(&line["subject"]).to_owned(),
                text(&line["reference"]).to_owned(),
            )
        })
        .collect()
}

#[test]
fn application_gets_the_same_before_and_after() {
    type Rules = fn(&[Value]) -> Delivered;
    let tools: [(&str, Rules, usize); 3] = [
        ("secrets-store-csi", by_secrets_store_csi, 3),
        ("akv2k8s", by_akv2k8s, 4),
        ("secret-init", by_secret_init, 2),
    ];
    for (tool, before, count) in tools {
        let (old, new) = (objects(tool, "before.yaml"), objects(tool, "after.yaml"));
        let expected = before(&old);
        assert_eq!(expected.len(), count, "{tool}");
        assert_eq!(by_akv_init(&new), expected, "{tool}");
        // The application is the same one, with the same variables.
        let [old, new] = [application(&old), application(&new)];
        assert_eq!(old["name"], new["name"], "{tool}");
        let names = |container| -> Vec<_> {
            let variables = variables(container).into_iter();
            variables.map(|(name, _)| name).collect()
        };
        assert_eq!(names(old), names(new), "{tool}");
    }
}

/// Its references and its variable are read as they are.
#[test]
fn only_the_image_changes_with_secret_init() {
    let before = serde_json::to_string(&objects("secret-init", "before.yaml")).unwrap();
    let after = serde_json::to_string(&objects("secret-init", "after.yaml")).unwrap();
    let image = ["REGISTRY/orders-secret-init:1", "REGISTRY/orders-akv:1"];
    assert_eq!(before.matches(image[0]).count(), 1);
    assert_eq!(before.replace(image[0], image[1]), after);
}
