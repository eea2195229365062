#compdef akv-init
# Completion of akv-init in zsh. Made from the table of options by examples/completions.rs.

_akv_init() {
  local -a subcommands=(
    'exec:become COMMAND with secrets in its environment'
    'write:write secrets to files below DIR'
    'check:test every step that exec depends on'
    'get:print one secret'
    'token:print an access token'
    'install:copy akv-init into DIR'
  )
  if ((CURRENT == 2)); then
    if [[ $PREFIX == -* ]]; then
      _arguments '(-h --help)'{-h,--help}'[print the help]' '(-V --version)'{-V,--version}'[print the version]'
    else
      _describe command subcommands
    fi
    return
  fi
  local -i end=$words[(i)--]
  if ((end < CURRENT)); then
    shift $end words
    ((CURRENT -= end))
    _normal
    return
  fi
  ((CURRENT--))
  shift words
  case $words[1] in
    exec) _arguments -S \
      '*--secret=[put the secret into variable NAME]:NAME\[=REF\]: ' \
      '*--memfd=[put the secret into an unnamed file in memory that COMMAND inherits, and the path of that file into variable NAME]:NAME=REF: ' \
      '--memfd-mode=[the permissions of these files]:MODE: ' \
      '*--from=[put each field of a JSON secret, or each of many secrets, into a variable]:REF: ' \
      '--vault=[the default vault]:VAULT: ' \
      '--override[let --secret and --memfd replace a variable that has a value or is a reference, and --from one that has a value]' \
      '*--literal=[leave variable NAME as it is, even if it looks like a reference]:NAME: ' \
      '*--unset=[remove variable NAME from the environment of COMMAND]:NAME: ' \
      '--init=-[run COMMAND as a child, reap every orphan, and forward every signal to RECIPIENT]::RECIPIENT:(group child)' \
      '--drain=[with --init]:TIME: ' \
      '--identity=[the kind of identity]:KIND:(managed workload service-principal cli)' \
      '--client-id=[the user-assigned identity or the application]:ID: ' \
      '--object-id=[a managed identity by its object id]:ID: ' \
      '--resource-id=[a managed identity by its resource id]:ID: ' \
      '--timeout=[from start to end]:TIME: ' \
      '--wait-for-access=[wait up to TIME beyond --timeout while the vault denies access]:TIME: ' \
      '--throttle-timeout=[from start to end while requests are throttled]:TIME: ' \
      '--cloud=[public, usgov or china]:CLOUD: ' \
      '*--allow-vault=[a host outside the domains of Azure that may get a token of the cloud]:HOST\[\:PORT\]: ' \
      '--vault-resource=[the resource of the token for hosts of --allow-vault]:URL: ' \
      '--ca-file=[trust only the certificates in this PEM file]:FILE:_files' \
      '--dry-run[print the planned requests, and do nothing]' \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '*::COMMAND:_normal' ;;
    write) _arguments -S \
      '*--secret=[put the secret into file NAME below DIR]:NAME\[=REF\]: ' \
      '*--from=[put each field of a JSON secret, or each of many secrets, into a file]:REF: ' \
      '--from-env[also write every variable that is a reference, to a file with the name of the variable]' \
      '--vault=[the default vault]:VAULT: ' \
      '*--literal=[leave variable NAME as it is, even if it looks like a reference]:NAME: ' \
      '*--output=[each OUTPUT holds every secret]:OUTPUT:(files dotenv\: k8s-env\: json\:)' \
      '--mode=[the permissions of the files]:MODE: ' \
      '--allow-loose-mode[only warn if a file system that ignores MODE, as a share may, gives files more permissions]' \
      '--layout=[how files are replaced]:LAYOUT:(plain atomic)' \
      '--require-tmpfs[fail unless DIR is in memory]' \
      '--every=[keep running, and refresh the files every TIME]:TIME: ' \
      '--keep-existing=-[while Azure cannot be reached]::AGE: ' \
      '--identity=[the kind of identity]:KIND:(managed workload service-principal cli)' \
      '--client-id=[the user-assigned identity or the application]:ID: ' \
      '--object-id=[a managed identity by its object id]:ID: ' \
      '--resource-id=[a managed identity by its resource id]:ID: ' \
      '--timeout=[from start to end]:TIME: ' \
      '--wait-for-access=[wait up to TIME beyond --timeout while the vault denies access]:TIME: ' \
      '--throttle-timeout=[from start to end while requests are throttled]:TIME: ' \
      '--cloud=[public, usgov or china]:CLOUD: ' \
      '*--allow-vault=[a host outside the domains of Azure that may get a token of the cloud]:HOST\[\:PORT\]: ' \
      '--vault-resource=[the resource of the token for hosts of --allow-vault]:URL: ' \
      '--ca-file=[trust only the certificates in this PEM file]:FILE:_files' \
      '--dry-run[print the planned requests, and do nothing]' \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '1:DIR:_directories' ;;
    check) _arguments -S \
      '*--secret=[put the secret into variable NAME]:NAME\[=REF\]: ' \
      '*--memfd=[put the secret into an unnamed file in memory that COMMAND inherits, and the path of that file into variable NAME]:NAME=REF: ' \
      '--memfd-mode=[the permissions of these files]:MODE: ' \
      '*--from=[put each field of a JSON secret, or each of many secrets, into a variable]:REF: ' \
      '--vault=[the default vault]:VAULT: ' \
      '--override[let --secret and --memfd replace a variable that has a value or is a reference, and --from one that has a value]' \
      '*--literal=[leave variable NAME as it is, even if it looks like a reference]:NAME: ' \
      '*--unset=[remove variable NAME from the environment of COMMAND]:NAME: ' \
      '--init=-[run COMMAND as a child, reap every orphan, and forward every signal to RECIPIENT]::RECIPIENT:(group child)' \
      '--drain=[with --init]:TIME: ' \
      '--identity=[the kind of identity]:KIND:(managed workload service-principal cli)' \
      '--client-id=[the user-assigned identity or the application]:ID: ' \
      '--object-id=[a managed identity by its object id]:ID: ' \
      '--resource-id=[a managed identity by its resource id]:ID: ' \
      '--timeout=[from start to end]:TIME: ' \
      '--wait-for-access=[accepted, without effect]:TIME: ' \
      '--throttle-timeout=[accepted, without effect]:TIME: ' \
      '--cloud=[public, usgov or china]:CLOUD: ' \
      '*--allow-vault=[a host outside the domains of Azure that may get a token of the cloud]:HOST\[\:PORT\]: ' \
      '--vault-resource=[the resource of the token for hosts of --allow-vault]:URL: ' \
      '--ca-file=[trust only the certificates in this PEM file]:FILE:_files' \
      '--format=[text]:FORMAT: ' \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '*::COMMAND:_normal' ;;
    get) _arguments -S \
      '--vault=[the default vault]:VAULT: ' \
      '--identity=[the kind of identity]:KIND:(managed workload service-principal cli)' \
      '--client-id=[the user-assigned identity or the application]:ID: ' \
      '--object-id=[a managed identity by its object id]:ID: ' \
      '--resource-id=[a managed identity by its resource id]:ID: ' \
      '--timeout=[from start to end]:TIME: ' \
      '--wait-for-access=[wait up to TIME beyond --timeout while the vault denies access]:TIME: ' \
      '--cloud=[public, usgov or china]:CLOUD: ' \
      '*--allow-vault=[a host outside the domains of Azure that may get a token of the cloud]:HOST\[\:PORT\]: ' \
      '--vault-resource=[the resource of the token for hosts of --allow-vault]:URL: ' \
      '--ca-file=[trust only the certificates in this PEM file]:FILE:_files' \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '1:REF: ' ;;
    token) _arguments -S \
      '--identity=[the kind of identity]:KIND:(managed workload service-principal cli)' \
      '--client-id=[the user-assigned identity or the application]:ID: ' \
      '--object-id=[a managed identity by its object id]:ID: ' \
      '--resource-id=[a managed identity by its resource id]:ID: ' \
      '--timeout=[from start to end]:TIME: ' \
      '--wait-for-access=[accepted, without effect]:TIME: ' \
      '--cloud=[public, usgov or china]:CLOUD: ' \
      '--scope=[RESOURCE followed by /]:SCOPE: ' \
      '--ca-file=[trust only the certificates in this PEM file]:FILE:_files' \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '1:RESOURCE: ' ;;
    install) _arguments -S \
      '--log-format=[text]:FORMAT: ' \
      '--quiet[leave out information, such as what akv-init waits for or what write has written]' \
      '-q[leave out information, such as what akv-init waits for or what write has written]' \
      '--verbose[log each step on standard error, never a secret]' \
      '-v[log each step on standard error, never a secret]' \
      '--help[print this help]' \
      '-h[print this help]' \
      '--version[print the version]' \
      '-V[print the version]' \
      '1:DIR:_directories' ;;
  esac
}

if [[ $funcstack[1] == _akv-init ]]; then
  _akv_init "$@"
else
  compdef _akv_init akv-init
fi
