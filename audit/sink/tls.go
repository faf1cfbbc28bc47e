package sink

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"

	"sallyport/pemfile"
)

func (t TLS) check(fault func(key, problem string)) {
	if _, err := pemfile.Pool(t.CAFile); err != nil {
		fault(".ca_file", err.Error())
	}
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		fault(".cert_file", "is missing beside key_file")
	case t.CertFile != "" && t.KeyFile == "":
		fault(".key_file", "is missing beside cert_file")
	default:
		if _, err := t.certificates(); err != nil {
			fault(".cert_file", err.Error())
		}
	}
}

// config reads the files that the settings name.
func (t TLS) config() (*tls.Config, error) {
	pool, err := pemfile.Pool(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file %w", err)
	}
	certificates, err := t.certificates()
	if err != nil {
		return nil, fmt.Errorf("cert_file %w", err)
	}
	return &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}, nil
}

func (t TLS) certificates() ([]tls.Certificate, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot be used with key_file: %w", err)
	}
	return []tls.Certificate{pair}, nil
}

func encodeBase64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// ClientCertificate returns the files of the certificate that Sallyport shows to the receiver, and of its key; "" if there is none.
func (s Settings) ClientCertificate() (certFile, keyFile string) {
	var t TLS
	switch {
	case s.Syslog != nil:
		t = s.Syslog.TLS
	case s.HTTPS != nil:
		t = s.HTTPS.TLS
	case s.OTLP != nil:
		t = s.OTLP.TLS
	}
	return t.CertFile, t.KeyFile
}
