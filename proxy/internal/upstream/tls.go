package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"

	"sallyport/pemfile"
)

// TLS is how the proxy and an https target authenticate each other.
type TLS struct {
	CAFile     string `yaml:"ca_file" kind:"file" doc:"PEM certificates of the authorities that may sign the upstream's certificate, instead of the system's"`
	CertFile   string `yaml:"cert_file" kind:"file" doc:"PEM certificate with which the proxy authenticates to the upstream"`
	KeyFile    string `yaml:"key_file" kind:"file" doc:"PEM key of cert_file"`
	ServerName string `yaml:"server_name" doc:"the name in the upstream's certificate; that of its URL when absent"`
}

// Read returns the TLS configuration that the files contain, and a digest of the files. Its error is a [*TLSFileError].
func (s TLS) Read() (*tls.Config, [sha256.Size]byte, error) {
	config, sum := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}, sha256.New()
	content := map[string][]byte{}
	for key, file := range map[string]string{"ca_file": s.CAFile, "cert_file": s.CertFile, "key_file": s.KeyFile} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, [sha256.Size]byte{}, &TLSFileError{key, "cannot be read: " + err.Error()}
		}
		content[key] = text
	}
	for _, key := range []string{"ca_file", "cert_file", "key_file"} {
		fmt.Fprintf(sum, "%d\n%s", len(content[key]), content[key])
	}
	if s.CAFile != "" {
		pool, err := pemfile.Parse(content["ca_file"])
		if err != nil {
			return nil, [sha256.Size]byte{}, &TLSFileError{"ca_file", s.CAFile + " " + err.Error()}
		}
		config.RootCAs = pool
	}
	if s.CertFile != "" {
		pair, err := tls.X509KeyPair(content["cert_file"], content["key_file"])
		if err != nil {
			return nil, [sha256.Size]byte{}, &TLSFileError{"cert_file", fmt.Sprintf("%s and key_file %s are no pair: %v", s.CertFile, s.KeyFile, err)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, [sha256.Size]byte(sum.Sum(nil)), nil
}

// TLSFileError says what is wrong with a file of upstream_tls.
type TLSFileError struct{ Key, Problem string }

func (e *TLSFileError) Error() string { return "upstream_tls." + e.Key + ": " + e.Problem }
