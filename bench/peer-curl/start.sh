#!/bin/bash
# The way without any program of one's own: curl and jq.
#
#   start.sh NAME=SECRET... -- COMMAND [ARG...]
set -euo pipefail

# A header on curl's command line could be read by every user of the machine; a configuration on its stdin cannot.
get() { # HEADER URL FIELD
  printf 'header = "%s"\nurl = "%s"\n' "$1" "$2" | curl --silent --show-error --fail --config - | jq --raw-output "$3"
}

identity=${IDENTITY_ENDPOINT:-http://169.254.169.254}
query='api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net'
token=$(get 'Metadata: true' "$identity/metadata/identity/oauth2/token?$query" .access_token)
while [[ $1 != -- ]]; do
  value=$(get "Authorization: Bearer $token" "https://$VAULT/secrets/${1#*=}?api-version=7.4" .value)
  export "${1%%=*}=$value"
  shift
done
shift
exec "$@"
