# Completion of akv-init in bash. Made from the table of options by examples/completions.rs.

_akv_init() {
  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} equals= i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W 'exec write check get token install --help --version' -- "$word"))
    return
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      if ((i == COMP_CWORD - 1)); then
        COMPREPLY=($(compgen -c -- "$word"))
      else
        COMPREPLY=($(compgen -f -- "$word"))
      fi
      return
    fi
  done
  # bash takes the = of --option=value for a word.
  if [[ $word == = ]]; then
    word= equals=1
  elif [[ $option == = ]]; then
    option=${COMP_WORDS[COMP_CWORD - 2]} equals=1
  fi
  case $option in
    --init) if [[ $equals ]]; then COMPREPLY=($(compgen -W 'group child' -- "$word")); return; fi ;;
    --output) COMPREPLY=($(compgen -W 'files dotenv: k8s-env: json:' -- "$word")); return ;;
    --layout) COMPREPLY=($(compgen -W 'plain atomic' -- "$word")); return ;;
    --identity) COMPREPLY=($(compgen -W 'managed workload service-principal cli' -- "$word")); return ;;
    --ca-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
    --secret | --memfd | --memfd-mode | --from | --vault | --literal | --unset | --drain | --mode | --every | --client-id | --object-id | --resource-id | --timeout | --wait-for-access | --throttle-timeout | --cloud | --allow-vault | --vault-resource | --scope | --format | --log-format) return ;;
    --keep-existing) if [[ $equals ]]; then return; fi ;;
  esac
  case $command in
    exec) set -- --secret --memfd --memfd-mode --from --vault --override --literal --unset --init --drain --identity --client-id --object-id --resource-id --timeout --wait-for-access --throttle-timeout --cloud --allow-vault --vault-resource --ca-file --dry-run --log-format --quiet -q --verbose -v --help -h --version -V -- ;;
    write) set -- --secret --from --from-env --vault --literal --output --mode --allow-loose-mode --layout --require-tmpfs --every --keep-existing --identity --client-id --object-id --resource-id --timeout --wait-for-access --throttle-timeout --cloud --allow-vault --vault-resource --ca-file --dry-run --log-format --quiet -q --verbose -v --help -h --version -V ;;
    check) set -- --secret --memfd --memfd-mode --from --vault --override --literal --unset --init --drain --identity --client-id --object-id --resource-id --timeout --wait-for-access --throttle-timeout --cloud --allow-vault --vault-resource --ca-file --format --log-format --quiet -q --verbose -v --help -h --version -V -- ;;
    get) set -- --vault --identity --client-id --object-id --resource-id --timeout --wait-for-access --cloud --allow-vault --vault-resource --ca-file --log-format --quiet -q --verbose -v --help -h --version -V ;;
    token) set -- --identity --client-id --object-id --resource-id --timeout --wait-for-access --cloud --scope --ca-file --log-format --quiet -q --verbose -v --help -h --version -V ;;
    install) set -- --log-format --quiet -q --verbose -v --help -h --version -V ;;
    *) return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$*" -- "$word"))
  elif [[ $command == write || $command == install ]]; then
    COMPREPLY=($(compgen -d -- "$word"))
  fi
}
complete -o filenames -F _akv_init akv-init
