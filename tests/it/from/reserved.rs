//! Variables that no name in a vault may become, one by one.

use super::{reference, run, variables};
use crate::azure::Azure;
use crate::support_files::Place;
use crate::support_tables::in_parallel;

/// A name for each row of the table, and for each variable that no secret may be put into at all.
const RESERVED: &str = "PATH LD_PRELOAD LD_ BASH_ENV ENV IFS GLIBC_TUNABLES AKV_INIT_VAULT \
    GCONV_PATH GETCONF_DIR LOCPATH MALLOC_CHECK_ NIS_PATH NLSPATH TZDIR \
    BASHOPTS BASH_FUNC_x CDPATH FPATH PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 SHELL SHELLOPTS ZDOTDIR \
    NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED ELECTRON_RUN_AS_NODE NPM_CONFIG_PREFIX \
    npm_config_prefix \
    CATALINA_OPTS CLASSPATH JAVA_HOME JAVA_OPTS JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS \
    PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONWARNINGS \
    BUNDLE_GEMFILE GEM_HOME PERL5LIB PERL5OPT PERLLIB RUBYLIB RUBYOPT \
    ERL_FLAGS ELIXIR_ERL_OPTIONS GODEBUG LUA_INIT LUA_PATH PHPRC PHP_INI_SCAN_DIR R_PROFILE \
    ASPNETCORE_HOSTINGSTARTUPASSEMBLIES COMPlus_EnableDiagnostics CORECLR_PROFILER COR_PROFILER DOTNET_STARTUP_HOOKS \
    CURL_CA_BUNDLE CURL_HOME OPENSSL_CONF OPENSSL_MODULES REQUESTS_CA_BUNDLE SSLKEYLOGFILE SSL_CERT_DIR SSL_CERT_FILE \
    ALL_PROXY HOSTALIASES HTTPS_PROXY HTTP_PROXY LOCALDOMAIN NO_PROXY RESOLV_HOST_CONF RES_OPTIONS all_proxy \
    http_proxy https_proxy no_proxy \
    BROWSER EDITOR GIT_SSH_COMMAND LESSCLOSE LESSOPEN MANPAGER PAGER SSH_ASKPASS SUDO_ASKPASS VISUAL \
    HOME TMPDIR XDG_CONFIG_HOME";

#[test]
fn reserved_name_is_refused() {
    in_parallel(RESERVED.split_whitespace(), |name| {
        let azure = Azure::start();
        azure.secret("s", &format!(r#"{{"{name}":"hunter2"}}"#));
        let failure = run(&azure, "akv://kv/s?prefix=").failure(78, "config");
        failure.names(name).hint_names("prefix=").omits("hunter2");
        // By a prefix that is its beginning, as well.
        let (start, rest) = name.split_at(1);
        azure.secret("t", &format!(r#"{{"{rest}":"hunter2"}}"#));
        run(&azure, &format!("akv://kv/t?prefix={start}"))
            .failure(78, "config")
            .names(name);
        let outcome = run(&azure, "akv://kv/s?prefix=APP_").outcome();
        assert_eq!(variables(&outcome), format!("APP_{name}=hunter2"));
    });
}

/// A shell may read the file. JSON names no variables.
#[test]
fn reserved_name_is_no_key_of_a_file_with_variables() {
    let azure = Azure::start();
    azure.secret("s", r#"{"NODE_OPTIONS":"hunter2"}"#);
    let from = format!("--from={}", reference(&azure, "akv://kv/s"));
    for output in ["--output=dotenv:f", "--output=k8s-env:f"] {
        let place = Place::in_memory();
        let failure = place.write(&azure, &[output, &from]).failure(78, "config");
        failure.names("NODE_OPTIONS").omits("hunter2");
    }
    for output in ["--output=json:f", "--output=files"] {
        Place::in_memory().wrote(&azure, &[output, &from]);
    }
}

/// The manifest decides: only names that a vault chooses are reserved so.
#[test]
fn manifest_may_name_it() {
    let azure = Azure::start();
    azure.secret("s", r#"{"NODE_OPTIONS":"x"}"#);
    let secret = reference(&azure, "NODE_OPTIONS=akv://kv/s#/NODE_OPTIONS");
    let run = crate::support::exec(&azure, ["--secret", &secret, "env"]);
    assert_eq!(variables(&run.outcome()), "NODE_OPTIONS=x");
}
