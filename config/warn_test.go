package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/config"
)

// certificate returns a self-signed certificate, valid from one time to another, and its key, both in PEM.
func certificate(t *testing.T, from, to time.Duration) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// writeUsable writes the example to a folder as somebody would who uses it, with a certificate, and returns its path.
func writeUsable(t *testing.T, cert, key []byte) (path string) {
	t.Helper()
	path = writeExample(t)
	text := strings.NewReplacer("TENANT-ID", "6f2c8c1e-0000-0000-0000-000000000000", ":8443 ", ":0 ", ":8444 ", ":0 ", ":9090 ", ":0 ", "#ca_file: idp-ca.pem", "ca_file: idp-ca.pem").Replace(string(config.Example()))
	dir := filepath.Dir(path)
	ca, _ := certificate(t, -time.Hour, time.Hour)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600), os.WriteFile(filepath.Join(dir, "idp-ca.pem"), ca, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidate_WarnsOfCertificates(t *testing.T) {
	good, goodKey := certificate(t, -time.Hour, time.Hour)
	old, oldKey := certificate(t, -2*time.Hour, -time.Hour)
	future, futureKey := certificate(t, time.Hour, 2*time.Hour)
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	for name, c := range map[string]struct {
		cert, key, ca []byte
		want          string
	}{
		"good":               {good, goodKey, nil, ""},
		"certificate_is_old": {old, oldKey, nil, `:\d+:\d+: tls.cert_file: .*tls.crt has a certificate that has expired: that of "CN=tests"`},
		"not_yet_valid":      {future, futureKey, nil, `tls.cert_file: .* is not valid yet`},
		"ca_is_old":          {good, goodKey, append(slices.Clip(good), old...), `:\d+:\d+: oidc.ca_file: .*idp-ca.pem has a certificate that has expired`},
		"ca_is_cut":          {good, goodKey, append(slices.Clip(good), broken...), `oidc.ca_file: .* has a part that is no certificate`},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeUsable(t, c.cert, c.key)
			if c.ca != nil {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), "idp-ca.pem"), c.ca, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f, warnings, err := config.Validate(path)
			if f == nil || err != nil {
				t.Fatal(err)
			}
			if c.want == "" && len(warnings) > 0 || c.want != "" && (len(warnings) != 1 || !regexp.MustCompile(c.want).MatchString(warnings.Error())) {
				t.Errorf("warns of %q, want %q", warnings, c.want)
			}
		})
	}
}

// TestValidate_WarnsOfUnrecordedAccess: whoever has requests let in without a record is told so, and at a place in the file.
func TestValidate_WarnsOfUnrecordedAccess(t *testing.T) {
	cert, key := certificate(t, -time.Hour, time.Hour)
	for value, want := range map[string]bool{"allow": true, "deny": false} {
		path := writeUsable(t, cert, key)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.Replace(string(text), "#on_failure: deny ", "on_failure: "+value+" ", 1))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := config.Validate(path)
		if got := regexp.MustCompile(`:\d+:\d+: audit.on_failure: is allow: .* without a line`).MatchString(warnings.Error()); err != nil || got != want {
			t.Errorf("%s: %v, warnings %q", value, err, warnings)
		}
	}
}

func TestValidate_FindsEveryFaultAtOnce(t *testing.T) {
	cert, key := certificate(t, -time.Hour, time.Hour)
	path := writeUsable(t, cert, key)
	dir := filepath.Dir(path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "host: api.example.com", "host: api.example.com:8443", 1))
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.WriteFile(filepath.Join(dir, "tls.key"), cert, 0o600), os.Mkdir(filepath.Join(dir, "data"), 0o700),
		os.WriteFile(filepath.Join(dir, "data", "sallyport.db"), []byte("text\n"), 0o600), os.Remove(filepath.Join(dir, "idp-ca.pem"))); err != nil {
		t.Fatal(err)
	}
	_, _, err = config.Validate(path)
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	want := []string{"tls.key_file", "store.bolt.path", "oidc.ca_file", "routes[1].host"}
	for i, fault := range faults {
		if i >= len(want) || fault.Path != want[i] {
			t.Errorf("%s", fault)
		}
	}
	if len(faults) != len(want) {
		t.Errorf("%d faults", len(faults))
	}
	if _, serveErr := config.LoadToServe(path); serveErr == nil || serveErr.Error() != err.Error() {
		t.Errorf("serving gives %v", serveErr)
	}
}

func TestValidate_FindsPlaceholders(t *testing.T) {
	cert, key := certificate(t, -time.Hour, time.Hour)
	for value, found := range map[string]bool{
		"https://login.microsoftonline.com/TENANT-ID/v2.0": true, "https://login.microsoftonline.com/TENANT_ID/v2.0": true, "https://login.microsoftonline.com/tenant-id/v2.0": true,
		"https://login.microsoftonline.com/{tenantid}/v2.0": true, "${ISSUER}": true, "https://${ISSUER:-x}/": true, "https://$(ISSUER)/": true, "https://{{ .Values.issuer }}/": true, "https://<your-domain>/": true, "https://id.example.com/{label}": true,
		"https://login.example.com/realms/tenant-identity": false, "https://login.example.com": false,
	} {
		t.Run(value, func(t *testing.T) {
			path := writeUsable(t, cert, key)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = regexp.MustCompile(`(?m)^  issuer: \S+`).ReplaceAll(text, []byte("  issuer: '"+strings.ReplaceAll(value, "$", "$$")+"'"))
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err = config.Validate(path)
			if got := err != nil && regexp.MustCompile(`:\d+:\d+: .* is left in; write the value itself`).MatchString(err.Error()); got != found {
				t.Errorf("%v", err)
			}
		})
	}
	path := writeUsable(t, cert, key)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Conditions and paths may look a little like placeholders.
	text = []byte(strings.NewReplacer(`request.time.getHours("UTC") < 20`, `1 < 2 && 3 > 2 && request.path.matches("^/a{1}$") && {"a": {"b": 1}}.size() > 0`, "/reports/*", "/tenant-id/*",
		"host: grafana.example.com", `host: "*.apps.example.com"`, "upstream: http://127.0.0.1:3000", "upstream: http://{label}.apps.internal:8080").Replace(string(text)))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Validate(path); err != nil {
		t.Error(err)
	}
}
