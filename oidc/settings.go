// Package oidc proves who a caller is: by sending their browser to the identity
// provider, or by checking the bearer token they bring.
//
// What is wrong with the caller's proof is a *Refusal (errors.Is ErrRefused);
// every other error means that we could not tell.
package oidc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Settings is the oidc node of the configuration.
type Settings struct {
	Issuer           string   `yaml:"issuer" doc:"the provider's issuer, exactly as it stands in its tokens"`
	ClientID         string   `yaml:"client_id" doc:"the application (client) ID"`
	ClientSecretFile string   `yaml:"client_secret_file" kind:"file" doc:"a file that holds the client secret"`
	APIAudiences     []string `yaml:"api_audiences" doc:"a bearer token must name one of these as its audience; none: bearer tokens are refused"`
	UserClaim        string   `yaml:"user_claim" doc:"the claim that says who somebody is; oid for Entra ID"`
	UserAttribute    string   `yaml:"user_attribute" doc:"the SCIM attribute that has the same value: externalId or userName"`
	Scopes           []string `yaml:"scopes" doc:"scopes to ask for at login"`
	CAFile           string   `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the provider's, instead of the system's"`
}

// Defaults is what absent keys mean.
func Defaults() Settings {
	return Settings{UserClaim: "oid", UserAttribute: "externalId", Scopes: []string{"openid", "profile", "email"}}
}

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if problem := issuerProblem(s.Issuer); problem != "" {
		fault("issuer", problem)
	}
	if s.ClientID == "" {
		fault("client_id", "is missing; write the application (client) ID from the provider's registration")
	}
	if _, err := readSecret(s.ClientSecretFile); err != nil {
		fault("client_secret_file", err.Error())
	}
	for i, audience := range s.APIAudiences {
		if strings.TrimSpace(audience) == "" {
			fault(fmt.Sprintf("api_audiences[%d]", i), "is empty; write the audience of your API's tokens, such as api://sallyport")
		}
	}
	if s.UserClaim == "" {
		fault("user_claim", "is empty; write the claim that never changes and is never given to another, such as oid")
	}
	if s.UserClaim == "email" || s.UserClaim == "upn" || s.UserClaim == "preferred_username" {
		fault("user_claim", fmt.Sprintf("%s can be changed by its bearer or given to another person; write oid or sub", s.UserClaim))
	}
	if s.UserAttribute != "externalId" && s.UserAttribute != "userName" {
		fault("user_attribute", fmt.Sprintf("%q cannot be joined by; write externalId or userName", s.UserAttribute))
	}
	if _, err := roots(s.CAFile); err != nil {
		fault("ca_file", err.Error())
	}
}

func issuerProblem(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return "is not a URL; write it as in the tokens, such as https://login.microsoftonline.com/TENANT-ID/v2.0"
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return "must be https, or anybody on the way could answer for the provider"
	}
	for _, shared := range []string{"common", "organizations", "consumers"} {
		if strings.Contains(u.Path+"/", "/"+shared+"/") {
			return fmt.Sprintf("%q lets every organisation's users sign in; write your own tenant's ID in its place", shared)
		}
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// Secret is text that never shows: not in logs, errors, or dumps of settings.
type Secret string

const concealed = "[secret]"

func (Secret) String() string               { return concealed }
func (Secret) GoString() string             { return concealed }
func (Secret) MarshalText() ([]byte, error) { return []byte(concealed), nil }

// LogValue keeps the secret out of slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(concealed) }

// readSecret reads the one line that path holds.
func readSecret(path string) (Secret, error) {
	if path == "" {
		return "", errors.New("is missing; write the path of a file that holds the client secret")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(text) > 4096 || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%s must hold the secret alone, on one line", path)
	}
	return Secret(text), nil
}

// roots are the certificates in path; nil, for the system's, where there is no path.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

const (
	askTimeout = 10 * time.Second // for one answer of the provider
	answerSize = 1 << 20          // of one answer, in bytes
)

// newClient asks the provider: with its CA, following no redirects, reading
// bounded answers.
func newClient(caFile string) (*http.Client, error) {
	pool, err := roots(caFile)
	if err != nil {
		return nil, fmt.Errorf("oidc.ca_file %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{
		Timeout:   askTimeout,
		Transport: bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the provider answered with a redirect, which is not followed")
		},
	}, nil
}

// bounded is a transport whose answers end at answerSize.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerSize)
	return resp, nil
}
