//! Puts the functions of src/os/allocator.rs before those of the C library, in the program and in no test, leaves unwind
//! tables out of the static file, and tells the program what `--version` prints.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The tables of C and assembler, for which compilers have no `force-unwind-tables=no`. With `INSERT`, a script adds to
/// ld's own.
const WITHOUT_UNWIND_TABLES: &str = "\
SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame.* .eh_frame_hdr) } }
INSERT AFTER .rodata;
";

fn main() {
    for function in ["malloc", "calloc", "realloc", "posix_memalign"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        let script = Path::new(&env::var("OUT_DIR").unwrap()).join("without_unwind_tables.ld");
        fs::write(&script, WITHOUT_UNWIND_TABLES).unwrap();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AKV_INIT_COMMIT");
    let commit = env::var("AKV_INIT_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty());
    let commit = commit.or_else(commit_of_checkout);
    let commit = commit.as_deref().unwrap_or("unknown");
    println!(
        "cargo::rustc-env=AKV_INIT_VERSION={} (commit {}, {}, {})",
        env::var("CARGO_PKG_VERSION").unwrap(),
        commit.get(..12).unwrap_or(commit),
        env::var("TARGET").unwrap(),
        roots(),
    );
}

/// The commit that is checked out, if this is a checkout and there is a git.
fn commit_of_checkout() -> Option<String> {
    // The log of HEAD changes with each commit, checkout and rebase.
    println!(
        "cargo::rerun-if-changed={}",
        git(&["rev-parse", "--git-path", "logs/HEAD"])?
    );
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| line.trim_end().to_owned())
}

/// The version of the compiled-in roots and its date, from Cargo.toml.
fn roots() -> String {
    println!("cargo::rerun-if-changed=Cargo.toml");
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let section = "[package.metadata.webpki-roots]\n";
    let section = manifest.split(section).nth(1).expect(section);
    let value = |key: &str| {
        let line = section.lines().find_map(|line| line.strip_prefix(key));
        line.expect(key).trim_matches(['=', ' ', '"']).to_owned()
    };
    format!("webpki-roots {} of {}", value("version"), value("date"))
}
