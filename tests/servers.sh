#!/bin/bash
# Tests, on the release binary with its built-in addresses, that real servers and clients work with what a reference makes
# of a secret:
#
#   * nginx serves TLS with ?pem=chain and ?pem=key, as files in memory by `exec` and as files of `write`; openssl, which
#     trusts the root alone, verifies the handshake. The certificate is stored as PEM and as PFX, with the encryption of
#     Key Vault, of OpenSSL 3 and of its -legacy, with RSA and EC keys;
#   * psql logs in at PostgreSQL with a URL that has a password of every printable ASCII character in it.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/servers.sh
#
# The servers and the stand-in for Azure are in a network namespace of their own; the servers and their clients run as the
# user nobody. Needs root, cargo, openssl, Debian's nginx-light, postgresql-15 and postgresql-client-15, and what
# tests/namespace/common.sh asks for. Every check prints a sentence; the exit code is 0 if and only if all of them hold, 2
# if they could not be made.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
postgresql=/usr/lib/postgresql/15/bin
for program in base64 cmp nginx openssl setpriv "$postgresql"/{initdb,postgres,psql}; do
    command -v "$program" >/dev/null ||
        cannot "there is no $program (Debian: nginx-light, openssl, postgresql-15, postgresql-client-15, util-linux)"
done
build_standin

# ---------------------------------------------------------------------------------------------------------------------
# The secrets
# ---------------------------------------------------------------------------------------------------------------------

host=www.example.com
mkdir "$tmp/pki"

certificate() { # certificate NAME SUBJECT ISSUER KEY EXTENSION...: without an issuer it is signed by its own key
    local name=$tmp/pki/$1 subject=$2 signer=() extension
    [ "$3" = - ] || signer=(-CA "$tmp/pki/$3.pem" -CAkey "$tmp/pki/$3.key")
    # shellcheck disable=SC2086 # an algorithm and its option
    openssl genpkey -quiet -algorithm $4 -out "$name.key"
    for extension in "${@:5}"; do
        signer+=(-addext "$extension")
    done
    openssl req -x509 -new -key "$name.key" -subj "/CN=$subject" -days 30 -out "$name.pem" "${signer[@]}"
}
rsa='RSA -pkeyopt rsa_keygen_bits:2048'
ec='EC -pkeyopt ec_paramgen_curve:P-256'
authority=(basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign)
certificate root 'Root of the tests' - "$ec" "${authority[@]}"
certificate other 'Another root of the tests' - "$ec" "${authority[@]}"
certificate intermediate 'Intermediate of the tests' root "$rsa" "${authority[@]}"
for key in rsa ec; do
    certificate "$key" "$host" intermediate "${!key}" basicConstraints=CA:FALSE "subjectAltName=DNS:$host"
done

store() { # store SECRET FILE TYPE: leaves in $flags what puts the file into the vaults
    flags+=(--secret-file "$1=$2" --content-type "$1=$3")
}
pfx() { # pfx KIND KEY OPTION...: the issuers are not in the order in which a server has to send them
    local file=$tmp/pki/$1-$2
    openssl pkcs12 -export -passout pass: -inkey "$tmp/pki/$2.key" -in "$tmp/pki/$2.pem" -name "$2" \
        -certfile <(cat "$tmp/pki/root.pem" "$tmp/pki/intermediate.pem") "${@:3}" | base64 --wrap=0 >"$file"
    store "$1-$2" "$file" application/x-pkcs12
}
flags=()
for key in rsa ec; do
    cat "$tmp/pki/$key.key" "$tmp/pki/root.pem" "$tmp/pki/intermediate.pem" "$tmp/pki/$key.pem" >"$tmp/pki/pem-$key"
    store "pem-$key" "$tmp/pki/pem-$key" application/x-pem-file
    pfx modern "$key"
    pfx legacy "$key" -legacy
    pfx key-vault "$key" -legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -iter 2000
done

# From the blank to the tilde.
password=$(printf '%b' "$(printf '\\x%x' {32..126})")
printf '%s' "$password" >"$tmp/password"

# ---------------------------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------------------------

mkdir "$tmp/azure"
env -i PATH="$PATH" unshare --net -- sh -c 'ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec "$@"' sh \
    "$standin" --dir "$tmp/azure" --imds 169.254.169.254:80 --vault 127.0.0.10:443 --name kv1.vault.azure.net \
    --secret-file "pw=$tmp/password" "${flags[@]}" \
    <"$tmp/stdin" >"$tmp/azure/stdout" 2>"$tmp/azure/stderr" 9>&- &
network=$!
until_it_says azure stdout '^ready$'
hosts hosts '127.0.0.10 kv1.vault.azure.net'
: >"$tmp/resolv"
enter "$network" hosts resolv

chmod 0711 "$tmp"
chmod 0755 "$tmp/azure"
chmod 0444 "$tmp/azure/ca.pem"
install --mode 0755 "$binary" "$tmp/akv-init"
user=nobody
here+=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --no-new-privs
    env -i PATH="$PATH" "SSL_CERT_FILE=$tmp/azure/ca.pem")

# serve NAME COMMAND...: a server, which ends with this script; $server is its pid. What it says is in $tmp/NAME/stderr.
serve() {
    mkdir "$tmp/$1"
    "${here[@]}" "${@:2}" </dev/null >"$tmp/$1/stderr" 2>&1 9>&- &
    server=$!
}

stop() { # stop SIGNAL: the server; its exit code is in $code
    code=0
    kill -s "$1" "$server" || true
    wait "$server" || code=$?
}

went_well() { # the last attempt
    [ "$code" = 0 ] || { printf 'exit code %s:\n%s\n' "$code" "$output"; false; }
}

# ---------------------------------------------------------------------------------------------------------------------
# TLS
# ---------------------------------------------------------------------------------------------------------------------

# nginx cannot take the name of a file from a variable, so a shell writes its configuration.
# shellcheck disable=SC2016 # for the shell in there
nginx='printf "%s\n" "daemon off; pid $DIR/pid; error_log stderr notice; events {}" \
    "http { access_log off; client_body_temp_path $DIR/1; proxy_temp_path $DIR/2; fastcgi_temp_path $DIR/3;" \
    "uwsgi_temp_path $DIR/4; scgi_temp_path $DIR/5; server { listen 127.0.0.1:8443 ssl;" \
    "ssl_certificate $CHAIN; ssl_certificate_key $KEY; location / { return 204; } } }" >"$DIR/conf" &&
    exec nginx -e stderr -c "$DIR/conf"'

scratch() { # scratch DIR: the user's own
    install -d -m 0700 -o "$user" "$1"
}

handshake() { # handshake ROOT: leaves its outcome in $code and $output
    attempt "${here[@]}" openssl s_client -connect 127.0.0.1:8443 -servername "$host" -verify_hostname "$host" \
        -CAfile "$tmp/pki/$1.pem" -no-CApath -no-CAstore -verify_return_error -showcerts </dev/null
}

served() { # served SENTENCE KEY: checks the running nginx, and ends it
    check "$1: nginx starts" until_it_says "$run" stderr 'start worker process'
    handshake root
    check "$1: openssl verifies the handshake with the root alone" went_well
    check "$1: with its name and without an error" has "$output" "Verification: OK" "Verified peername: $host"
    check "$1: nginx sends leaf, intermediate and root, in this order" cmp \
        <(cat "$tmp/pki/$2.pem" "$tmp/pki/intermediate.pem" "$tmp/pki/root.pem") \
        <(sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' <<<"$output")
    handshake other
    check "$1: with another root openssl refuses it" has "$code $output" "1 " "verify error"
    stop QUIT
    check "$1: nginx ends with 0" equal 0 "$code"
}

part_tls() {
    local kind key name run
    for kind in pem modern legacy key-vault; do
        for key in rsa ec; do
            name=akv://kv1/$kind-$key
            echo "# A server's certificate: $kind, $key"

            run=exec-$kind-$key
            scratch "$tmp/$run-dir"
            serve "$run" "DIR=$tmp/$run-dir" "CHAIN=$name?pem=chain&file" "KEY=$name?pem=key&file" \
                "$tmp/akv-init" exec -- sh -c "$nginx"
            served exec "$key"

            run=write-$kind-$key
            scratch "$tmp/$run-dir"
            scratch "$tmp/$run-dir/tls"
            attempt "${here[@]}" "$tmp/akv-init" write --quiet --secret "tls.crt=$name?pem=chain" \
                --secret "tls.key=$name?pem=key" "$tmp/$run-dir/tls"
            check "write: the files are written" went_well
            serve "$run" "DIR=$tmp/$run-dir" "CHAIN=$tmp/$run-dir/tls/tls.crt" "KEY=$tmp/$run-dir/tls/tls.key" \
                sh -c "$nginx"
            served write "$key"
        done
    done

    echo "# Without the intermediate"
    run=leaf
    scratch "$tmp/$run-dir"
    serve "$run" "DIR=$tmp/$run-dir" 'CHAIN=akv://kv1/modern-ec?pem=leaf&file' 'KEY=akv://kv1/modern-ec?pem=key&file' \
        "$tmp/akv-init" exec -- sh -c "$nginx"
    check "with ?pem=leaf nginx starts" until_it_says "$run" stderr 'start worker process'
    handshake root
    check "and openssl refuses it, so that the chain is what it accepts above" \
        has "$code $output" "1 " "unable to get local issuer certificate"
    stop QUIT
}

# ---------------------------------------------------------------------------------------------------------------------
# A connection string
# ---------------------------------------------------------------------------------------------------------------------

login() { # login URL: in a variable that akv-init resolves
    # shellcheck disable=SC2016 # for the shell in there
    attempt "${here[@]}" PGCONNECT_TIMEOUT=10 "DATABASE_URL=$1" "$tmp/akv-init" exec -- sh -c \
        'exec "$0" --no-psqlrc --no-password --tuples-only --no-align --command "SELECT current_user" "$DATABASE_URL"' \
        "$postgresql/psql"
}

part_postgresql() {
    local data=$tmp/postgresql-dir server
    echo "# PostgreSQL, with a password of ${#password} characters"
    check "the password has every printable ASCII character" equal 95 "$(fold --width=1 "$tmp/password" | sort -u | wc -l)"
    scratch "$data"
    # By `exec`, so that it is the value of the vault that PostgreSQL hashes; the file has no newline that could matter.
    attempt "${here[@]}" PASSWORD_FILE=akv://kv1/pw?file "DATA=$data/data" "$tmp/akv-init" exec -- sh -c \
        'exec "$0" --username=app --pwfile="$PASSWORD_FILE" --auth=scram-sha-256 --no-sync "$DATA"' "$postgresql/initdb"
    check "initdb takes the superuser's password from a file in memory" went_well
    serve postgresql "$postgresql/postgres" -D "$data/data" -k "$data" -c listen_addresses=127.0.0.1 -c fsync=off
    check "PostgreSQL starts" until_it_says postgresql stderr 'ready to accept connections'

    attempt "${here[@]}" "PGPASSWORD=$password" "$postgresql/psql" --no-psqlrc --no-password --tuples-only --no-align \
        --host 127.0.0.1 --username app --command 'SELECT current_user' postgres
    check "the password alone is good, without akv-init" equal "0 app" "$code $output"
    login 'postgres://app:{akv://kv1/pw?encode=url}@127.0.0.1:5432/postgres'
    check "psql logs in with the password in a URL" equal "0 app" "$code $output"
    login "postgres://app:{akv://kv1/pw?encode=url}@:5432/postgres?host=$data"
    check "by a socket, too" equal "0 app" "$code $output"
    login 'postgres://app:{akv://kv1/pw}@127.0.0.1:5432/postgres'
    check "not without ?encode=url" equal 2 "$code"
    login 'postgres://app:{akv://kv1/pw?encode=url}.@127.0.0.1:5432/postgres'
    check "not with another password" has "$code $output" "2 " "password authentication failed"
    stop INT
    check "PostgreSQL ends with 0" equal 0 "$code"
}

for part in tls postgresql; do
    # As a job, since it then ends at what it cannot do, and the others go on.
    "part_$part" >"$tmp/part" 2>&1 &
    wait $! || echo "FAILED  \"$part\" runs to its end" >>"$tmp/part"
    tee -a "$tmp/found" <"$tmp/part"
done
total "$tmp/found"
