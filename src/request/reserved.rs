//! Variables that no name in a vault may become.
//!
//! The right to add a secret to a vault, or a field to a secret, must not be the right to decide which code runs, or
//! where it connects to. A variable that the manifest names is the manifest's decision, so fewer names are reserved
//! there. No such list is complete: `prefix=` keeps all names apart.

use crate::error::Error;
use crate::request::environment::check_not_reserved;

/// Names of variables, separated by commas, and what each does. One that ends in `*` is a prefix.
const RESERVED: [(&str, &str); 12] = [
    (
        "GCONV_PATH,GETCONF_DIR,LOCPATH,MALLOC_*,NIS_PATH,NLSPATH,TZDIR",
        "the C library loads code and data from it",
    ),
    (
        "BASHOPTS,BASH_*,CDPATH,FPATH,PROMPT_COMMAND,PS0,PS1,PS2,PS3,PS4,SHELL,SHELLOPTS,ZDOTDIR",
        "shells run what is in it, or take it for a setting",
    ),
    (
        "NODE_*,ELECTRON_RUN_AS_NODE,NPM_CONFIG_*,npm_config_*",
        "Node.js loads code by it",
    ),
    (
        "CATALINA_OPTS,CLASSPATH,JAVA_HOME,JAVA_OPTS,JAVA_TOOL_OPTIONS,JDK_JAVA_OPTIONS,_JAVA_OPTIONS",
        "Java loads code by it",
    ),
    ("PYTHON*", "Python loads code by it"),
    (
        "BUNDLE_*,GEM_*,PERL*,RUBYLIB,RUBYOPT",
        "Perl or Ruby load code by it",
    ),
    (
        "ERL_*,ELIXIR_ERL_OPTIONS,GODEBUG,LUA_*,PHPRC,PHP_INI_SCAN_DIR,R_PROFILE",
        "a language's runtime loads code or settings by it",
    ),
    (
        "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES,COMPlus_*,CORECLR_*,COR_*,DOTNET_*",
        ".NET loads code by it",
    ),
    (
        "CURL_CA_BUNDLE,CURL_HOME,OPENSSL_*,REQUESTS_CA_BUNDLE,SSLKEYLOGFILE,SSL_CERT_DIR,SSL_CERT_FILE",
        "it decides whom TLS trusts",
    ),
    (
        "ALL_PROXY,HOSTALIASES,HTTPS_PROXY,HTTP_PROXY,LOCALDOMAIN,NO_PROXY,RESOLV_HOST_CONF,RES_OPTIONS,\
         all_proxy,http_proxy,https_proxy,no_proxy",
        "it decides where connections go",
    ),
    (
        "BROWSER,EDITOR,GIT_*,LESSCLOSE,LESSOPEN,MANPAGER,PAGER,SSH_ASKPASS,SUDO_ASKPASS,VISUAL",
        "it names a program that others start",
    ),
    (
        "HOME,TMPDIR,XDG_*",
        "programs read their settings and write their files there",
    ),
];

/// Fails if a name that a vault has chosen must not become the name of a variable.
pub fn check_not_reserved_for_vault(name: &str) -> Result<(), Error> {
    let hint = "write `prefix=APP_`, or name the variable in the manifest";
    check_not_reserved(name).map_err(|error| error.context(name).hint(hint))?;
    let is_name = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == known,
    };
    match RESERVED
        .iter()
        .find(|(names, _)| names.split(',').any(is_name))
    {
        None => Ok(()),
        Some((_, effect)) => {
            let reason = format!("a name in a vault cannot become this variable: {effect}");
            Err(Error::config(reason).context(name).hint(hint))
        }
    }
}
