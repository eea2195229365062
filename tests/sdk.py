"""What `sdk.sh` runs: Microsoft's SDK against the stand-in for Azure.

Arguments: the stand-in's directory, its vault as host:port, the client id of the attached identity, the value that the
secret `sql-sa` must have. Exits non-zero at the first thing that is not as on Azure.
"""

import json
import logging
import os
import pathlib
import sys

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.secrets import SecretClient


def main() -> None:
    directory, vault, client_id, value = pathlib.Path(sys.argv[1]), *sys.argv[2:]
    ca = str(directory / "ca.pem")
    workload, secret, certificate, app_service = (
        dict(line.split("=", 1) for line in (directory / f"{name}.env").read_text().splitlines())
        for name in ("workload", "secret", "certificate", "app-service")
    )
    entra = dict(authority=workload["AZURE_AUTHORITY_HOST"], disable_instance_discovery=True, connection_verify=ca)
    application = dict(tenant_id=workload["AZURE_TENANT_ID"], client_id=workload["AZURE_CLIENT_ID"])

    credentials = {
        "managed identity, the only one attached": ManagedIdentityCredential(),
        "managed identity by client id": ManagedIdentityCredential(client_id=client_id),
        "workload identity": WorkloadIdentityCredential(
            **application, token_file_path=workload["AZURE_FEDERATED_TOKEN_FILE"], **entra
        ),
        "client secret": ClientSecretCredential(
            **application, client_secret=secret["AZURE_CLIENT_SECRET"], **entra
        ),
        "client certificate": CertificateCredential(
            **application, certificate_path=certificate["AZURE_CLIENT_CERTIFICATE_PATH"], **entra
        ),
        "client certificate with its chain": CertificateCredential(
            **application,
            certificate_path=certificate["AZURE_CLIENT_CERTIFICATE_PATH"],
            send_certificate_chain=True,
            **entra,
        ),
    }
    for name, credential in credentials.items():
        check_vault(name, vault_client(vault, credential, ca), value)
    # Found by variables alone, which are read anew for each token.
    os.environ.update(app_service)
    check_vault("App Service", vault_client(vault, ManagedIdentityCredential(client_id=client_id), ca), value)
    for name in app_service:
        del os.environ[name]

    # Refused on purpose; the SDK would warn of it on the terminal.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    stranger = ManagedIdentityCredential(client_id="00000000-0000-4000-8000-000000000000")
    error = expect(ClientAuthenticationError, lambda: vault_client(vault, stranger, ca).get_secret("sql-sa"))
    assert "Identity not found" in str(error), error

    check_record(directory / "requests.jsonl", client_id)


def vault_client(vault: str, credential, ca: str) -> SecretClient:
    # The challenge names Azure's resource, and `localhost` is not below it: the SDK's check is turned off.
    return SecretClient(f"https://{vault}", credential, verify_challenge_resource=False, connection_verify=ca)


def check_vault(name: str, client: SecretClient, value: str) -> None:
    secret = client.get_secret("sql-sa")
    assert secret.value == value, f"{name}: another value came: {secret.value!r}"
    assert secret.properties.enabled and secret.properties.name == "sql-sa", secret.properties
    assert client.get_secret("sql-sa", secret.properties.version).value == value, name

    missing = expect(ResourceNotFoundError, lambda: client.get_secret("nothing-here"))
    assert missing.status_code == 404 and missing.error.code == "SecretNotFound", missing
    disabled = expect(HttpResponseError, lambda: client.get_secret("retired"))
    assert disabled.status_code == 403 and disabled.error.innererror["code"] == "SecretDisabled", disabled
    print(f"{name}: ok")


def expect(kind, call) -> HttpResponseError:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected, and nothing was raised")


def check_record(record: pathlib.Path, client_id: str) -> None:
    """The SDK could have read a value from nowhere else, but then the record would be wrong."""
    requests = [json.loads(line) for line in record.read_text().splitlines()]
    asked = {door: [r for r in requests if r["endpoint"] == door] for door in ("imds", "login", "platform", "vault")}
    assert len(asked["imds"]) == 3, asked["imds"]
    assert sum(f"client_id={client_id}" in r["target"] for r in asked["imds"]) == 1, asked["imds"]
    forms = [r for r in asked["login"] if r["method"] == "POST"]
    assert len(forms) == 4, asked["login"]
    assert sum("client_secret=" in r["body"] for r in forms) == 1, forms
    assert [f"client_id={client_id}" in r["target"] for r in asked["platform"]] == [True], asked["platform"]
    assert all(r["tls"] == "TLSv1.3" for r in asked["login"] + asked["vault"]), "a connection was not TLS 1.3"


main()
