//! PID 1, as a container's ENTRYPOINT: the kernel drops signals to it that have no handler.

use std::process::{Command, Stdio};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::{SIGNALS, stopped};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Outcome, binary};
use crate::support_inherited as inherited;

#[test]
fn signal_ends_the_wait_of_pid_1() {
    const ALONE: [&str; 4] = ["--user", "--map-root-user", "--pid", "--fork"];
    inherited::need_namespaces(&ALONE);
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    azure.always(Endpoint::Imds, Response::usual().hold());
    for (count, signal) in SIGNALS.into_iter().enumerate() {
        let mut unshare = Command::new("unshare");
        unshare
            .args(ALONE)
            .arg(binary())
            .args(["exec", "/bin/true"])
            .env_clear();
        let unshare = unshare
            .env("S", format!("akv://{}/sa", azure.vault()))
            .env("AKV_INIT_ALLOW_VAULT", azure.vault())
            .env("AKV_INIT_LOG_FORMAT", "json")
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        inherited::block(unshare, &[]);
        inherited::restore(unshare, &SIGNALS);
        let unshare = unshare.spawn().expect("it was there a moment ago");
        azure.wait_for(Endpoint::Imds, count + 1);
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let first = std::fs::read_to_string(children).expect("the kernel lists children");
        let first = first.trim().parse().expect("one child, by its id out here");
        kill(Pid::from_raw(first), signal).expect("it is there");
        let outcome = Outcome::from(unshare.wait_with_output().expect("it is our child"));
        stopped(&outcome, signal, &[&azure.imds()]);
    }
}
