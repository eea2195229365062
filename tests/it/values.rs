//! What the options of a reference make of a secret.
//!
//! A row is a case, the secret, what follows the reference, and the value, or the exit code of a failure.

use std::fs;
use std::process::Stdio;

use nix::pty::openpty;

use crate::azure::{Azure, Endpoint};
use crate::support::{NO_OPTIONS, Run, akv_init, exec, write};
use crate::support_identities::outcome_without_stdout;
use crate::support_scratch::Scratch;

type Row = (
    &'static str,
    &'static str,
    &'static str,
    Result<&'static str, i32>,
);

fn get(azure: &Azure, name: &str, options: &str) -> Run {
    akv_init(["get", &reference(azure, name, options)])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
}

/// The same options with `file`.
fn with_file(options: &str) -> String {
    match options.strip_prefix('?') {
        Some(options) => format!("?file&{options}"),
        None => format!("?file{options}"),
    }
}

fn reference(azure: &Azure, name: &str, options: &str) -> String {
    format!("akv://{}/{name}{options}", azure.vault())
}

/// In no value is a word of a message this one.
const CANARY: &str = "c4n4ry";

/// Rows, a line each: `CASE: SECRET, OPTIONS => RESULT;`.
macro_rules! cases {
    ($($case:literal: $secret:expr, $options:expr => $expected:expr;)*) => {
        &[$(($case, $secret, $options, $expected)),*]
    };
}

#[track_caller]
fn check(rows: &[Row]) {
    let azure = Azure::start();
    for (index, (case, secret, options, expected)) in rows.iter().enumerate() {
        let name = format!("secret-{index}");
        azure.secret(&name, secret);
        match expected {
            Ok(value) => {
                let outcome = get(&azure, &name, options).outcome();
                assert_eq!(outcome.stdout_alone(), *value, "{case}");
            }
            Err(code) => {
                let cause = if *code == 66 { "not found" } else { "config" };
                let outcome = get(&azure, &name, options).json().outcome();
                assert_eq!(outcome.code, Some(*code), "{case}: {}", outcome.stderr);
                let failure = outcome.failure(*code, cause);
                failure.names(&name).hinted().omits(CANARY);
                failure.fact("secret", name).fact("vault", azure.vault());
            }
        }
    }
}

/// The document of RFC 6901, section 5.
const RFC_6901: &str =
    r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
const EXTERNAL: &str = r#"{"Name": "External", "LastName": "Secret", "Address": { "Street": "Myroad st.", "CP": "J4K4T4" } }"#;
const TWO: &str = "{\"test1\":\"dGVzdAo=\",\"test2\":\"dGVzdAo=\"}";

#[test]
fn field_of_a_json_secret() {
    check(cases! {
        "a text": r#"{"a":"x\ty"}"#, "#/a" => Ok("x\ty");
        "true": r#"{"a":true}"#, "#/a" => Ok("true");
        "false": r#"{"a":false}"#, "#/a" => Ok("false");
        "the least number": r#"{"a":-9223372036854775808}"#, "#/a" => Ok("-9223372036854775808");
        "the largest number": r#"{"a":18446744073709551615}"#, "#/a" => Ok("18446744073709551615");
        "null": r#"{"a":null,"b":"c4n4ry"}"#, "#/a" => Err(66);
        "no such member": r#"{"a":"c4n4ry","c4n4ry":1}"#, "#/b" => Err(66);
        "below a number": r#"{"a":1}"#, "#/a/b" => Err(66);
        "an element": r#"["x","y"]"#, "#/1" => Ok("y");
        "an index with a zero": r#"["x","y"]"#, "#/01" => Err(66);
        "the element after the last": r#"["x","y"]"#, "#/-" => Err(66);
        "an element that is not there": r#"["x","y"]"#, "#/2" => Err(66);
        "the empty name": r#"{"":"e"}"#, "#/" => Ok("e");
        "a name twice": r#"{"a":"1","a":"2"}"#, "#/a" => Ok("2");
        "a text as the secret": r#""text""#, "#/a" => Err(66);
        "half a surrogate": r#"{"a":"\ud800c4n4ry"}"#, "#/a" => Err(78);
        "a NUL": r#"{"a":"x\u0000y"}"#, "#/a" => Ok("x\0y");
        "a fraction": r#"{"a":1.50}"#, "#/a" => Err(78);
        "an exponent": r#"{"a":1e3}"#, "#/a" => Err(78);
        "a large number": r#"{"a":12345678901234567890123}"#, "#/a" => Err(78);
        "minus zero": r#"{"a":-0}"#, "#/a" => Err(78);
        "single quotes": "{'a':'c4n4ry'}", "#/a" => Err(78);
        "YAML": "a: c4n4ry", "#/a" => Err(78);
        "a byte order mark": "\u{feff}{\"a\":\"c4n4ry\"}", "#/a" => Err(78);
        "white space around it": " \r\n{\"a\":\"b\"}\n", "#/a" => Ok("b");
        "text behind it": "{\"a\":\"b\"} c4n4ry", "#/a" => Err(78);
        "nothing": "", "#/a" => Err(78);
        "an object": r#"{"a":{"c4n4ry":"c4n4ry"}}"#, "#/a" => Err(78);
        "an array": r#"{"a":["c4n4ry"]}"#, "#/a" => Err(78);
        "External Secrets: name": EXTERNAL, "#/Name" => Ok("External");
        "External Secrets: nested": EXTERNAL, "#/Address/CP" => Ok("J4K4T4");
        "External Secrets: missing": EXTERNAL, "#/Age" => Err(66);
        "External Secrets: object": EXTERNAL, "#/Address" => Err(78);
        "RFC 6901: element": RFC_6901, "#/foo/0" => Ok("bar");
        "RFC 6901: empty": RFC_6901, "#/" => Ok("0");
        "RFC 6901: slash": RFC_6901, "#/a~1b" => Ok("1");
        "RFC 6901: percent": RFC_6901, "#/c%25d" => Ok("2");
        "RFC 6901: circumflex": RFC_6901, "#/e%5Ef" => Ok("3");
        "RFC 6901: bar": RFC_6901, "#/g%7Ch" => Ok("4");
        "RFC 6901: backslash": RFC_6901, "#/i%5Cj" => Ok("5");
        "RFC 6901: quote": RFC_6901, "#/k%22l" => Ok("6");
        "RFC 6901: blank": RFC_6901, "#/%20" => Ok("7");
        "RFC 6901: tilde": RFC_6901, "#/m~0n" => Ok("8");
        "RFC 6901: array": RFC_6901, "#/foo" => Err(78);
        "akv2k8s": TWO, "?decode=base64&trim#/test1" => Ok("test");
        "fnox": r#"{"a":{"b.c":{"d":"x"}}}"#, "#/a/b.c/d" => Ok("x");
    });
}

#[test]
fn json_may_be_nested_127_deep() {
    let azure = Azure::start();
    for (depth, code) in [(127, 0), (128, 78)] {
        let (start, end) = ("{\"a\":".repeat(depth), "}".repeat(depth));
        azure.secret("deep", &format!("{start}\"x\"{end}"));
        let outcome = get(&azure, "deep", &format!("#{}", "/a".repeat(depth))).outcome();
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    }
}

const SIXTY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const LINES_OF_64: &str =
    "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\nQUFBQUFBQUFBQUFB\r\n";
const LINES_OF_76: &str =
    "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\nQUFB\r\n";

#[test]
fn value_is_decoded() {
    let lines = "QmFzZTY0RW5jb2Rl\r\nZFN0cmluZw==\r\n";
    check(cases! {
        "base64": "QmFzZTY0RW5jb2RlZFN0cmluZw==", "?decode=base64" => Ok("Base64EncodedString");
        "hex": "486578456E636F646564537472696E67", "?decode=hex" => Ok("HexEncodedString");
        "lower case": "486578456e636f646564537472696e67", "?decode=hex" => Ok("HexEncodedString");
        "white space": "\t4141 \n", "?decode=hex" => Ok("AA");
        "in lines": lines, "?decode=base64" => Ok("Base64EncodedString");
        "URL-safe, no padding": "Pz8_Pz4-", "?decode=base64" => Ok("????>>");
        "both alphabets": "Pz8/Pz8_", "?decode=base64" => Ok("??????");
        "left-over bits": "Zh==", "?decode=base64" => Ok("f");
        "one of two signs of padding": "Zg=", "?decode=base64" => Ok("f");
        "one letter": "Z", "?decode=base64" => Err(78);
        "two values": "Zg==Zg==", "?decode=base64" => Err(78);
        "too much padding": "Zg===", "?decode=base64" => Err(78);
        "lines of 64": LINES_OF_64, "?decode=base64" => Ok(SIXTY);
        "lines of 76": LINES_OF_76, "?decode=base64" => Ok(SIXTY);
        "a sign": "!", "?decode=base64" => Err(78);
        "not base64": "c4n4ry!", "?decode=base64" => Err(78);
        "a JWT": "eyJh.c4n4ry.x", "?decode=base64" => Err(78);
        "an odd number of digits": "ABC", "?decode=hex" => Err(78);
        "a prefix": "0x41", "?decode=hex" => Err(78);
        "not hex": "c4n4ryc4n4ry", "?decode=hex" => Err(78);
        "white space inside": "41 41", "?decode=hex" => Err(78);
        "empty base64": "", "?decode=base64" => Ok("");
        "empty hex": "", "?decode=hex" => Ok("");
        "an empty field": r#"{"a":""}"#, "?decode=base64#/a" => Ok("");
        "escapes": r"a\nb\rc\td\\e\x\", "?decode=escapes" => Ok("a\nb\rc\td\\e\\x\\");
        "an escaped backslash": r"\\n", "?decode=escapes" => Ok(r"\n");
        "CSI: no option": "TestSecret1", "" => Ok("TestSecret1");
        "akv2k8s": "ICBhbHNkamZsIGxqYXNmayAgIA==", "?decode=base64&trim" => Ok("  alsdjfl ljasfk   ");
        "trimmed after decoding": "77u/QQoNCg==", "?trim&decode=base64" => Ok("A");
        "nothing but line ends": "Cg0K", "?trim&decode=base64" => Ok("");
    });
}

#[test]
fn value_is_encoded() {
    check(cases! {
        "akv2k8s": "  alsdjfl ljasfk   ", "?encode=base64" => Ok("ICBhbHNkamZsIGxqYXNmayAgIA==");
        "tembo": "TestingPasswd12345@#", "?encode=url" => Ok("TestingPasswd12345%40%23");
        "goharbor": "~,VZd8atZ4>XzJ?q", "?encode=url" => Ok("~%2CVZd8atZ4%3EXzJ%3Fq");
        "aspire": "Passw0rd;Encrypt=False", "?encode=ado" => Ok("\"Passw0rd;Encrypt=False\"");
        "url": "p@ss w/ö\"é", "?encode=url" => Ok("p%40ss%20w%2F%C3%B6%22%C3%A9");
        "ado": "p@ss w/ö\"é", "?encode=ado" => Ok("\"p@ss w/ö\"\"é\"");
        "json": "p@ss w/ö\"é", "?encode=json" => Ok("p@ss w/ö\\\"é");
        "json, control characters": "a\n\u{1}\\", "?encode=json" => Ok("a\\n\\u0001\\\\");
        "an empty value": "", "?encode=ado" => Ok("\"\"");
        "trimmed before": "a\n", "?encode=url&trim" => Ok("a");
        "a field": r#"{"a":"x y"}"#, "?encode=url#/a" => Ok("x%20y");
        "any bytes": "/w==", "?decode=base64&encode=url" => Ok("%FF");
        "any bytes again": "_w", "?decode=base64&encode=base64" => Ok("/w==");
        "ado is text": "/w==", "?decode=base64&encode=ado" => Err(78);
        "json is text": "/w==", "?decode=base64&encode=json" => Err(78);
    });
}

/// Bytes that are not UTF-8, and a NUL.
const BYTES: &[u8] = b"\xff\xfe\0\n";
const BYTES_IN_BASE64: &str = "//4ACg==";

#[test]
fn bytes_go_to_files_and_standard_output() {
    let azure = Azure::start();
    azure.secret("bytes", BYTES_IN_BASE64);
    let reference = reference(&azure, "bytes", "?decode=base64");
    let scratch = Scratch::new();
    let (dir, printed) = (scratch.directory("secrets"), scratch.path("printed"));
    let secret = format!("key.jks={reference}");
    let outcome = write(&azure, ["--secret", &secret]).args([&dir]).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(fs::read(format!("{dir}/key.jks")).unwrap(), BYTES);
    let run = get(&azure, "bytes", "?decode=base64").with(|command| {
        command.stdout(fs::File::create(&printed).unwrap());
    });
    assert_eq!(outcome_without_stdout(run).code, Some(0));
    assert_eq!(fs::read(&printed).unwrap(), BYTES);
    let memfd = format!("FILE={reference}");
    let run = exec(&azure, ["--memfd", &memfd]).args(["--", "/bin/sh", "-c", "base64 $FILE"]);
    assert_eq!(run.outcome().stdout_alone().trim(), BYTES_IN_BASE64);
}

#[test]
fn variable_holds_any_bytes_but_nul() {
    let azure = Azure::start();
    azure.secret("nul", BYTES_IN_BASE64);
    azure.secret("latin-1", "6Q==");
    let run = |name: &str, command: &str| {
        let reference = reference(&azure, name, "?decode=base64");
        exec(&azure, ["--", "/bin/sh", "-c", command]).env("S", reference)
    };
    let outcome = run("latin-1", "printf %s \"$S\" | base64").outcome();
    assert_eq!(outcome.stdout_alone(), "6Q==\n");
    azure.secret("field", r#"{"a":"x\u0000y"}"#);
    for options in ["?decode=base64", "#/a"] {
        let name = if options == "#/a" { "field" } else { "nul" };
        let failure = exec(&azure, ["/bin/true"])
            .env("S", reference(&azure, name, options))
            .failure(78, "config");
        failure.names("S").hint_names("--memfd");
        let value = reference(&azure, name, &with_file(options));
        let run = exec(&azure, ["/bin/sh", "-c", "od -An -tx1 $S"]).env("S", value);
        assert!(run.outcome().stdout_alone().contains(" 00"));
    }
}

#[test]
fn formats_take_only_utf8() {
    let azure = Azure::start();
    azure.secret("latin-1", "6Q==");
    for output in ["json:a", "dotenv:a", "k8s-env:a"] {
        let scratch = Scratch::new();
        let reference = reference(&azure, "latin-1", "?decode=base64");
        let secret = format!("S={reference}");
        let run = write(&azure, ["--output", output, "--secret", &secret]);
        let failure = run
            .args([scratch.directory("secrets")])
            .failure(78, "config");
        failure.names("S").hint_names("--output files");
    }
}

/// Some bytes change what a terminal does.
#[test]
fn terminal_gets_only_utf8() {
    let azure = Azure::start();
    azure.secret("latin-1", "6Q==");
    let terminal = openpty(None, None).unwrap();
    let run = get(&azure, "latin-1", "?decode=base64").json();
    let outcome = outcome_without_stdout(run.with(|command| {
        command.stdout(Stdio::from(terminal.slave));
    }));
    outcome.failure(73, "cannot create").hinted();
}

/// JSON has no byte order mark, and nobody sees one.
#[test]
fn hint_names_a_byte_order_mark_before_json() {
    let azure = Azure::start();
    azure.secret("mark", "\u{feff}{\"a\":\"b\"}");
    let failure = get(&azure, "mark", "#/a").failure(78, "config");
    failure.hint_names("byte order mark");
}

/// They belong to the name of the field.
#[test]
fn hint_names_options_behind_a_field() {
    let azure = Azure::start();
    azure.secret("db", "{}");
    for options in ["#/a?trim", "#/a&trim"] {
        let failure = get(&azure, "db", options).failure(66, "not found");
        failure.hint_names("before the field");
    }
}

/// And all failures of one secret are in one line.
#[test]
fn several_options_of_one_secret_are_one_request() {
    let azure = Azure::start();
    azure.secret("db", r#"{"user":"app","password":"p w"}"#);
    let option =
        |name: &str, options: &str| format!("--secret={name}={}", reference(&azure, "db", options));
    let run = exec(&azure, NO_OPTIONS)
        .args([option("A", "#/user"), option("B", "?encode=url#/password")])
        .args([option("C", ""), option("D", "?trim#/user")])
        .args(["--", "/bin/sh", "-c", "echo $A,$B,$C,$D"]);
    assert_eq!(
        run.outcome().stdout_alone(),
        "app,p%20w,{\"user\":\"app\",\"password\":\"p w\"},app\n"
    );
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
    let run = exec(&azure, NO_OPTIONS)
        .args([
            option("A", "#/name"),
            option("B", "#/password"),
            option("C", "?decode=hex"),
        ])
        .args(["--", "true"]);
    let failure = run.failure(66, "not found");
    failure
        .names("for A")
        .names("for C (config)")
        .omits("for B");
    failure.fact("for", "A").omits("p w");
}

/// Like `exec`, `check` makes the values.
#[test]
fn check_makes_the_values() {
    let azure = Azure::start();
    azure.secret("db", "{\"a\":\"c4n4ry\\n\"}");
    for (options, code, warned) in [
        ("#/a", 0, true),
        ("?trim#/a", 0, false),
        ("#/b", 66, false),
        ("?decode=hex#/a", 78, false),
    ] {
        let run = akv_init(["check", "--format", "json"])
            .env("S", reference(&azure, "db", options))
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault());
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(code), "{options}: {}", outcome.stdout);
        assert!(!outcome.stdout.contains(CANARY), "{}", outcome.stdout);
        assert_eq!(
            outcome.stdout.contains("?trim#/a"),
            warned || options.contains("trim")
        );
    }
}
