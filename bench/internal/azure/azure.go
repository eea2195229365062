// Package azure is what a Go programmer writes in an afternoon to read secrets with a managed identity: a token
// from the identity endpoint, then one GET a secret. The two Go peers of the benchmark share it, so that they
// differ only in how often they are started.
//
// It is meant to be hard to beat, not easy: no SDK, one certificate file for a pool (never the system's 140 roots),
// HTTP/1.1 over connections that are kept, no retry, no check that costs anything.
package azure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// AtOnce is how many secrets are asked for at the same time, and so how many connections are worth keeping.
const AtOnce = 10

// Vault is a vault and the token to read it with.
type Vault struct {
	client *http.Client
	url    string
	token  string
}

// Open fetches a token for the vault that VAULT names. IDENTITY_ENDPOINT moves the identity endpoint.
func Open() (*Vault, error) {
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", os.Getenv("SSL_CERT_FILE"))
	}
	vault := &Vault{
		client: &http.Client{
			Timeout: 30 * time.Second,
			Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: roots},
				MaxIdleConnsPerHost: AtOnce,
				ForceAttemptHTTP2:   false,
			},
		},
		url: "https://" + os.Getenv("VAULT"),
	}

	identity := os.Getenv("IDENTITY_ENDPOINT")
	if identity == "" {
		identity = "http://169.254.169.254"
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = vault.get(identity+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net",
		"Metadata", "true", &answer)
	vault.token = answer.AccessToken
	return vault, err
}

// Secret reads the current version of one secret. It may be called from several goroutines.
func (v *Vault) Secret(name string) (string, error) {
	var answer struct {
		Value string `json:"value"`
	}
	err := v.get(v.url+"/secrets/"+name+"?api-version=7.4", "Authorization", "Bearer "+v.token, &answer)
	return answer.Value, err
}

// Names lists the secrets whose names begin with start, page by page.
func (v *Vault) Names(start string) ([]string, error) {
	var names []string
	for url := v.url + "/secrets?maxresults=25&api-version=7.4"; url != ""; {
		var page struct {
			Value []struct {
				ID         string `json:"id"`
				Managed    bool   `json:"managed"`
				Attributes struct {
					Enabled bool `json:"enabled"`
				} `json:"attributes"`
			} `json:"value"`
			NextLink string `json:"nextLink"`
		}
		if err := v.get(url, "Authorization", "Bearer "+v.token, &page); err != nil {
			return nil, err
		}
		for _, secret := range page.Value {
			name := secret.ID[strings.LastIndex(secret.ID, "/")+1:]
			if secret.Attributes.Enabled && !secret.Managed && strings.HasPrefix(name, start) {
				names = append(names, name)
			}
		}
		url = page.NextLink
	}
	return names, nil
}

func (v *Vault) get(url, header, value string, into any) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set(header, value)
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
