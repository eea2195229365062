//! Lines on a terminal: their width and their colours.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc;

use super::{check, with_secret};
use crate::azure::Azure;
use crate::support::Run;
use crate::support_identities::outcome_without_stdout;

/// A terminal with so many columns: its two sides.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: openpty reads the size and writes two descriptors.
    let status = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    Errno::result(status).expect("a terminal");
    // SAFETY: it was just opened, and nothing else owns it.
    let master = unsafe { File::from_raw_fd(master) };
    // SAFETY: as above.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    (master, slave)
}

/// What a run prints on a terminal of so many columns.
fn printed(run: Run, columns: u16) -> String {
    let (mut master, slave) = terminal(columns);
    let run = run.with(|command| {
        command.stdout(Stdio::from(slave));
    });
    outcome_without_stdout(run);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // EIO is the end: the other side is closed.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

fn failing(azure: &Azure) -> [String; 2] {
    let missing = format!("MISSING=akv://{}/missing", azure.vault());
    ["--secret".to_owned(), missing]
}

#[test]
fn lines_fit_the_terminal() {
    let (azure, target) = with_secret();
    let failing = failing(&azure);
    let words = ["--secret", &target, &failing[0], &failing[1], "--", "true"];
    for columns in [60, 100, 200] {
        let report = printed(check(&azure, &words).env("NO_COLOR", "1"), columns);
        let longest = report.lines().map(|line| line.chars().count()).max();
        assert!(longest.unwrap() <= columns.into(), "{columns}: {report}");
        assert!(
            longest.unwrap() > usize::from(columns) - 25,
            "{columns}: {report}"
        );
        assert!(
            report.contains("\nFAILED  secret      MISSING: "),
            "{report}"
        );
    }
}

#[test]
fn first_word_is_coloured_on_a_terminal_without_no_color() {
    let (azure, target) = with_secret();
    let failing = failing(&azure);
    let words = ["--secret", &target, &failing[0], &failing[1]];
    for no_color in [None, Some("")] {
        let run = check(&azure, &words).env("AKV_INIT_TIMOUT", "5");
        let run = match no_color {
            Some(value) => run.env("NO_COLOR", value),
            None => run,
        };
        let report = printed(run, 80);
        for start in [
            "\x1b[32mok\x1b[0m      reference   S: ",
            "\n\x1b[33mwarning\x1b[0m setting     AKV_INIT_TIMOUT: ",
            "\n\x1b[31mFAILED\x1b[0m  secret      MISSING: ",
            "\n\x1b[31mFAILED\x1b[0m  verdict     exec would fail with exit code 66; failed check: secret\n",
        ] {
            assert!(report.contains(start), "{start:?}{report:?}");
        }
    }
    let plain = printed(check(&azure, &words).env("NO_COLOR", "1"), 80);
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let json = printed(
        check(&azure, &[&words[..], &["--format", "json"]].concat()),
        80,
    );
    assert!(!json.contains('\x1b'), "{json:?}");
    let piped = check(&azure, &words).outcome().stdout;
    assert!(!piped.contains('\x1b'), "{piped:?}");
}
