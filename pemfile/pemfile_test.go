package pemfile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/pemfile"
)

func TestPool(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for name, c := range map[string]struct{ content, want string }{
		"one":       {"# ours\n" + cert, ""},
		"two":       {cert + cert, ""},
		"empty":     {"", "holds no PEM certificate"},
		"text":      {"hello", "holds no PEM certificate"},
		"key":       {strings.ReplaceAll(cert, "CERTIFICATE", "PRIVATE KEY"), "holds no PEM certificate"},
		"truncated": {cert[:len(cert)/2], "holds no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			pool, err := pemfile.Pool(path)
			if c.want == "" && (err != nil || pool == nil) || c.want != "" && (err == nil || err.Error() != path+" "+c.want || pool != nil) {
				t.Errorf("%v, %v", pool, err)
			}
		})
	}
	if pool, err := pemfile.Pool(""); pool != nil || err != nil {
		t.Errorf("without a path: %v, %v", pool, err)
	}
	if pool, err := pemfile.Pool(filepath.Join(t.TempDir(), "nowhere")); pool != nil || err == nil || !strings.HasPrefix(err.Error(), "cannot be read: ") {
		t.Errorf("without a file: %v, %v", pool, err)
	}
}
