#!/usr/bin/env bash
# Tries the completions in each of the shells: what a person gets who presses the tab key. Needs bash, zsh and fish. Every
# check prints a sentence; the exit code is 0 if and only if all of them hold.
set -euo pipefail
cd "$(dirname "$0")/.."

for shell in bash zsh fish; do
    command -v "$shell" >/dev/null || { echo "tests/completions.sh cannot run: there is no $shell" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/folder"
touch "$work/bundle.pem"

# The candidates after a line that ends where the cursor is, one a line.
in_bash() {
    (cd "$work" && bash --norc -c '
        source "$1"
        # As readline does with its usual word breaks.
        read -ra COMP_WORDS <<<"${2//=/ = }"
        [[ $2 != *[=\ ] ]] || [[ $2 == *= ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _akv_init
        printf "%s\n" "${COMPREPLY[@]}"
    ' bash "$OLDPWD/completions/akv-init.bash" "$1")
}
in_fish() {
    (cd "$work" && HOME=$work XDG_CONFIG_HOME=$work fish --private --no-config -c \
        'source $argv[1]; complete -C "$argv[2]"' "$OLDPWD/completions/akv-init.fish" "$1" | cut -f 1 | sed 's/^.*=//')
}
in_zsh() {
    (cd "$work" && zsh -f tests.zsh "$OLDPWD/completions/akv-init.zsh" "$1" | sed 's/=$//; s/^.*=//')
}
# zsh completes on a terminal only. What each compadd would add are the candidates.
cat >"$work/tests.zsh" <<'Z'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; stty -echo; autoload -U compinit; compinit -D -u; source $1"
zpty -w shell '
zstyle ":completion:*" list-grouped false
zstyle ":completion:*" insert-tab false
show() {
  compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a found
    builtin compadd -A found "$@"
    print -rl -- "candidate "${^found}
    builtin compadd "$@"
  }
  _main_complete
  print -r -- complete
}
zle -C show list-choices show
bindkey "^I" show
print ready'
while zpty -r shell line; do [[ $line == *ready* && $line != *print* ]] && break; done
zpty -w -n shell "$2"$'\t'
while zpty -r shell line; do
  line=${line%%[[:space:]]#}
  [[ $line == *candidate\ * ]] && print -r -- "${${line##*candidate }//[$'\r\n']/}"
  [[ $line == *complete[[:space:]]* ]] && break
done
zpty -d shell
Z

failures=0
# offers LINE CANDIDATE...: in each shell exactly these, in any order
offers() {
    local line=$1 shell found expected
    shift
    expected=$(printf '%s\n' "$@" | sort -u)
    for shell in bash zsh fish; do
        found=$("in_$shell" "$line" | sed '/^$/d; s,/$,,' | sort -u)
        if [ "$found" = "$expected" ]; then
            echo "ok: in $shell \`$line\` offers ${*:-nothing}"
        else
            echo "FAILED: in $shell \`$line\` offers $(tr '\n' ' ' <<<"$found"), not $*"
            failures=$((failures + 1))
        fi
    done
}

offers 'akv-init ex' exec
offers 'akv-init exec --mem' --memfd --memfd-mode
offers 'akv-init get --mem'
offers 'akv-init write --la' --layout
offers 'akv-init write --layout ' plain atomic
offers 'akv-init write --layout=a' atomic
offers 'akv-init exec --identity service' service-principal
offers 'akv-init token --ca-file bun' bundle.pem
offers 'akv-init write fol' folder
offers 'akv-init exec -- mkfif' mkfifo
exit "$((failures > 0))"
