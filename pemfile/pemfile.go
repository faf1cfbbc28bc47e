// Package pemfile reads the certificates of authorities from PEM files, for all who connect to servers.
//
// An empty path means the authorities that the system trusts; a file without a certificate is an error, and never means
// them.
package pemfile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Pool returns the certificates in the file at path; nil, which means those of the system, if path is empty. The error
// follows the name of a setting.
func Pool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return pool, nil
}

// Parse returns the certificates in the content of a file. The error follows the name of the file.
func Parse(data []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("holds no PEM certificate")
	}
	return pool, nil
}
