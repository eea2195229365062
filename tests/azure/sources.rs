//! The environment of a container on each platform, with the addresses of this fake Azure.

use std::path::PathBuf;

use super::platform::{APP_SERVICE_PATH, ARC_PATH, CLOUD_SHELL_PATH};
use super::{
    APPLICATION, Azure, BASE_PATH, CLIENT_SECRET, Endpoint, IDENTITY_HEADER, MSI_SECRET, TENANT,
    TOKEN_PROXY_NAME, certificate, tls,
};

/// Names and values.
pub type Environment = Vec<(String, String)>;

impl Azure {
    /// The base of App Service's, Azure ML's, Cloud Shell's and Azure Arc's endpoints.
    pub fn platform(&self) -> String {
        format!("http://{}", self.endpoint(Endpoint::Platform).authority())
    }

    /// The URL of the token proxy, with an address: its server name is not in DNS.
    pub fn token_proxy(&self) -> String {
        let port = self.endpoint(Endpoint::TokenProxy).port();
        format!("https://127.0.0.1:{port}{BASE_PATH}")
    }

    /// The certificate and the key of the application, PEM.
    pub fn certificate_file(&self) -> PathBuf {
        self.dir().join(certificate::FILE)
    }

    /// The certificate of the cluster's CA, PEM.
    pub fn cluster_ca_file(&self) -> PathBuf {
        self.dir().join(tls::CLUSTER_CA_FILE)
    }

    /// The token file of a pod whose service account is bound to an identity.
    pub fn binding_token_file(&self) -> PathBuf {
        self.dir().join("binding.jwt")
    }

    /// Workload identity.
    pub fn workload_environment(&self) -> Environment {
        let token_file = self.token_file().to_string_lossy().into_owned();
        self.application(&[("AZURE_FEDERATED_TOKEN_FILE", token_file)])
    }

    /// Workload identity through the cluster's token proxy.
    pub fn token_proxy_environment(&self) -> Environment {
        let file = |path: PathBuf| path.to_string_lossy().into_owned();
        self.application(&[
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                file(self.binding_token_file()),
            ),
            ("AZURE_KUBERNETES_CA_FILE", file(self.cluster_ca_file())),
            ("AZURE_KUBERNETES_SNI_NAME", TOKEN_PROXY_NAME.to_owned()),
            ("AZURE_KUBERNETES_TOKEN_PROXY", self.token_proxy()),
        ])
    }

    /// A service principal with its secret.
    pub fn secret_environment(&self) -> Environment {
        self.application(&[("AZURE_CLIENT_SECRET", CLIENT_SECRET.to_owned())])
    }

    /// A service principal with its certificate.
    pub fn certificate_environment(&self) -> Environment {
        let path = self.certificate_file().to_string_lossy().into_owned();
        self.application(&[("AZURE_CLIENT_CERTIFICATE_PATH", path)])
    }

    /// App Service, Functions, Container Apps.
    pub fn app_service_environment(&self) -> Environment {
        let endpoint = format!("{}{APP_SERVICE_PATH}", self.platform());
        named(&[
            ("IDENTITY_ENDPOINT", endpoint),
            ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
        ])
    }

    /// Azure ML, and App Service of 2017.
    pub fn machine_learning_environment(&self) -> Environment {
        let endpoint = format!("{}{APP_SERVICE_PATH}", self.platform());
        named(&[
            ("MSI_ENDPOINT", endpoint),
            ("MSI_SECRET", MSI_SECRET.to_owned()),
        ])
    }

    /// Cloud Shell.
    pub fn cloud_shell_environment(&self) -> Environment {
        let endpoint = format!("{}{CLOUD_SHELL_PATH}", self.platform());
        named(&[("MSI_ENDPOINT", endpoint)])
    }

    /// A machine with the agent of Azure Arc; the caller creates [`super::ARC_KEY_FILE`].
    pub fn arc_environment(&self) -> Environment {
        let endpoint = format!("{}{ARC_PATH}", self.platform());
        named(&[
            ("IDENTITY_ENDPOINT", endpoint),
            ("IMDS_ENDPOINT", self.platform()),
        ])
    }

    fn application(&self, credential: &[(&str, String)]) -> Environment {
        let mut environment = named(&[
            ("AZURE_AUTHORITY_HOST", self.login()),
            ("AZURE_CLIENT_ID", APPLICATION.to_owned()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
        ]);
        environment.extend(named(credential));
        environment.sort();
        environment
    }
}

fn named(pairs: &[(&str, String)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
